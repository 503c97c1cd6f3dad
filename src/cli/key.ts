import { settleAuth, type Config } from '../config.ts';
import { UsageError } from './args.mjs';
import { checkKeyName, isGood, openKeys, type KeyStore, type NewKey, type StoredKey } from '../identity/key-store.ts';
import { keyScopes, type KeyScope } from '../identity/key.ts';
import { AppError } from '../errors.ts';
import { type Invocation, settings } from './invocation.ts';
import { columns } from './table.ts';

/** Without `--scopes`: everything but the operator's own view. */
const usualScopes: readonly KeyScope[] = ['tools', 'files', 'terminals'];
const day = 86_400_000;

/** `berth key create NAME | list | revoke NAME-OR-ID`, also while the server runs. Exit code 1 when nothing was revoked. */
export async function key(invocation: Invocation): Promise<number> {
  const { config } = settings(invocation);
  const [action, name, ...surplus] = invocation.rest;
  if (surplus.length > 0)
    throw new UsageError(`Unexpected argument "${surplus[0]}": berth key ${action} takes one name.`);
  using keys = openKeys(config.server.state_dir);
  if (action === 'create') return create(keys, checkKeyName(required(action, name)), config, invocation);
  if (action === 'revoke') return revoke(keys, required(action, name), invocation);
  if (action === 'list' && name === undefined) return list(keys, invocation);
  throw new UsageError('Say what to do: berth key create NAME, berth key list, or berth key revoke NAME-OR-ID.');
}

function required(action: string, name: string | undefined): string {
  if (name) return name;
  throw new UsageError(`berth key ${action} needs a name: berth key ${action} NAME.`);
}

function create(keys: KeyStore, name: string, config: Config, { flags, out, err }: Invocation): number {
  const first = !keys.any();
  const made = keys.create({ name, ...rightsOf(flags, config), expires: expiryOf(flags['expires']) });
  out.write(flags['json'] ? `${json({ ...shown(made.key), key: made.text })}\n` : `${made.text}\n`);
  err.write(`The key ${made.key.id} of ${name} is shown this once; only its hash is kept.\n`);
  if (first && settleAuth(config, true).auth.mode === 'none')
    err.write('auth.mode is none: everybody is let in, with a key or without.\n');
  else if (first)
    err.write('It is the first one: a server that was started without keys asks for them once restarted.\n');
  return 0;
}

function rightsOf(flags: Invocation['flags'], config: Config): Pick<NewKey, 'scopes' | 'templates' | 'users'> {
  const templates = words(flags['templates']);
  const unknown = templates?.find((template) => !Object.hasOwn(config.templates, template));
  const known = Object.keys(config.templates);
  // A list that names nothing would make a key that may do nothing.
  if (templates?.length === 0) throw unfit('templates', known, String(flags['templates']));
  if (unknown !== undefined) throw unfit('templates', known, unknown);
  const scopes = words(flags['scopes']) ?? usualScopes;
  if (scopes.length === 0) throw unfit('scopes', keyScopes, String(flags['scopes']));
  for (const scope of scopes) if (!isScope(scope)) throw unfit('scopes', keyScopes, scope);
  const users = flags['users'];
  if (users !== undefined && users !== 'headers' && users !== 'signed')
    throw unfit('users', ['headers', 'signed'], String(users));
  if (users === 'signed' && config.open_webui.jwt_secret === undefined)
    throw new AppError(
      'invalid_argument',
      '--users: expected open_webui.jwt_secret in the settings beside signed, got none.',
    );
  return { scopes: scopes.filter(isScope), ...(templates && { templates }), ...(users && { users }) };
}

const isScope = (word: string): word is KeyScope => keyScopes.some((scope) => scope === word);

function words(flag: string | boolean | undefined): string[] | undefined {
  if (typeof flag !== 'string') return undefined;
  return [...new Set(flag.split(',').map((word) => word.trim()))].filter((word) => word !== '');
}

function unfit(flag: string, expected: readonly string[], got: string): AppError {
  const shownWord = JSON.stringify(got.slice(0, 80));
  return new AppError('invalid_argument', `--${flag}: expected some of ${expected.join(', ')}, got ${shownWord}.`);
}

/** `90d`, `12h`, or a date. */
function expiryOf(flag: string | boolean | undefined): number | null {
  if (typeof flag !== 'string') return null;
  const [, count, unit] = /^(\d{1,5})([dh])$/.exec(flag) ?? [];
  const at = count ? Date.now() + Number(count) * (unit === 'd' ? day : day / 24) : dateOf(flag);
  if (at > Date.now()) return at;
  const got = JSON.stringify(flag.slice(0, 80));
  throw new AppError('invalid_argument', `--expires: expected a time to come like 90d, 12h or 2030-01-31, got ${got}.`);
}

const dateOf = (text: string): number => (/^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN);

function revoke(keys: KeyStore, nameOrId: string, { flags, out, err }: Invocation): number {
  const revoked = keys.revoke(nameOrId);
  if (flags['json']) out.write(`${json(revoked.map(shown))}\n`);
  else for (const { id, name } of revoked) out.write(`revoked ${id} of ${name}\n`);
  if (revoked.length === 0)
    err.write(`There is no good key of that name or id: ${JSON.stringify(nameOrId.slice(0, 80))}.\n`);
  return revoked.length === 0 ? 1 : 0;
}

function list(keys: KeyStore, { flags, out }: Invocation): number {
  const rows = keys.list().map(shown);
  out.write(`${flags['json'] ? json(rows) : table(rows)}\n`);
  return 0;
}

function shown(key: StoredKey) {
  const { id, name, scopes, templates, users, created, expires, lastUsed } = key;
  return {
    id,
    name,
    status: isGood(key) ? 'good' : key.revoked === null ? 'expired' : 'revoked',
    scopes,
    templates: templates ?? null,
    users: users ?? null,
    created: time(created),
    expires: time(expires),
    last_used: time(lastUsed),
  };
}

const time = (at: number | null): string | null => (at === null ? null : new Date(at).toISOString().slice(0, 16) + 'Z');

type Shown = ReturnType<typeof shown>;

function table(rows: readonly Shown[]): string {
  const head = ['id', 'name', 'status', 'scopes', 'templates', 'users', 'created', 'expires', 'last used'];
  const cells = rows.map((row) =>
    Object.values(row).map((value) => (Array.isArray(value) ? value.join(',') : String(value ?? '–'))),
  );
  return columns(head, cells);
}

const json = (value: unknown): string => JSON.stringify(value, null, 2);
