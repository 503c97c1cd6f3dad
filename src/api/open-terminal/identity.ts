import { createHash } from 'node:crypto';
import type { Config } from '../../config.ts';
import { AppError } from '../../errors.ts';
import { identifier, type Identified, type SettingsKeys, type StoredKeys } from '../../identity/identity.ts';
import type { TokenUsers } from '../../identity/open-webui.ts';
import { boundedId, type HeaderOf } from '../../identity/user.ts';

/** The header in which Open WebUI names the user to a terminal server; nothing signs it. */
export const userHeader = 'x-user-id';
/** Milliseconds for which an answer of Open WebUI about a token is good, and until it has to come. */
const answerAge = 60_000;
const patience = 5000;
const mostRemembered = 10_000;

export type IdentifyPane = (header: HeaderOf) => Promise<Identified>;

/**
 * Who sends a request of the panes. A user's own token proves them, and the plain header must then name the same one; a
 * key serves many users only where it says `users: headers`. Rejects `unauthorized` and `forbidden`.
 */
export function paneIdentifier(config: Config, stored?: StoredKeys, keys?: SettingsKeys): IdentifyPane {
  const settings = { ...config, open_webui: { ...config.open_webui, user_header: userHeader } };
  const identify = identifier(settings, stored, keys, askedTokens(config.open_webui));
  return async (header) => {
    const identified = await identify(header);
    const { principal } = identified;
    if (principal.refusal !== undefined) throw new AppError('unauthorized', principal.refusal);
    const named = header(userHeader)?.trim();
    if (named && config.auth.mode !== 'none') needSame(principal, named);
    return identified;
  };
}

function needSame({ id, endUser }: Identified['principal'], named: string): void {
  // An issuer's names are not Open WebUI's: there the token alone counts.
  if (id.startsWith('oidc:')) return;
  if (!endUser) {
    throw new AppError(
      'forbidden',
      'The request names a user, and this key serves its owner alone: it needs users: headers.',
    );
  }
  if (!id.endsWith(`:${boundedId(named)}`)) {
    throw new AppError('forbidden', 'X-User-Id names another user than the token proves.');
  }
}

/** Tokens that Open WebUI itself knows: `sk-` keys, and sessions where the secret is not ours. */
function askedTokens({ url }: Config['open_webui']): TokenUsers[] {
  if (url === undefined) return [];
  const known = new Map<string, { readonly at: number; readonly id: Promise<string | undefined> }>();
  const userOf = async (token: string) => {
    const name = createHash('sha256').update(token).digest('base64');
    const held = known.get(name);
    if (held && performance.now() - held.at < answerAge) return await asUser(held.id);
    if (known.size >= mostRemembered) known.clear();
    const id = askFor(url, token);
    known.set(name, { at: performance.now(), id });
    return await asUser(id);
  };
  return [{ prefix: 'webui', forwarded: true, userOf }];
}

async function asUser(answer: Promise<string | undefined>) {
  const id = await answer;
  return id === undefined ? undefined : { id, groups: [] };
}

/** The user's id; undefined where Open WebUI knows the token not, or does not answer. */
async function askFor(url: string, token: string): Promise<string | undefined> {
  const init = { headers: { authorization: `Bearer ${token}` }, redirect: 'error' } as const;
  try {
    const answer = await fetch(`${url.replace(/\/$/, '')}/api/v1/auths/`, {
      ...init,
      signal: AbortSignal.timeout(patience),
    });
    const { id } = (answer.ok ? await answer.json() : {}) as { id?: unknown };
    return typeof id === 'string' && id !== '' ? id : undefined;
  } catch {
    return undefined;
  }
}
