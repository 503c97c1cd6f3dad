import type { ApiKey, Config } from '../config.ts';
import { AppError } from '../errors.ts';
import type { KeyStore } from './key-store.ts';
import type { Principal } from './key.ts';
import { groupPolicy, type GroupPolicy } from './groups.ts';
import { keyFinder, settingsKeyId, settingsPrincipal } from './keys.ts';
import { oidcTokens } from './oidc.ts';
import { headerUsers, sessionTokens, signedUsers, type TokenUsers, type Users } from './open-webui.ts';
import { boundedId, type HeaderOf, type User } from './user.ts';

export interface Identified {
  readonly principal: Principal;
  /**
   * The tokens that proved who is calling. Any other is a text of the caller's choice: as a secret it would let him choose
   * what is left out of his recordings.
   */
  readonly secrets: readonly string[];
  /** The token that was the proof, where the application in front takes it, too. */
  readonly userToken?: string;
  /** Whether the proof is still good, for what outlasts the request; absent where that is not known. */
  readonly isGood?: () => boolean;
}

/** Finds out who sends a request. Rejects with `unauthorized` for who proves nothing. */
export type Identify = (header: HeaderOf) => Promise<Identified>;

/** Everybody, where no keys are asked for. */
export const anonymousId = 'anonymous';
const anonymous: Principal = { id: anonymousId };

/** Where keys that are no settings are looked up. */
export type StoredKeys = Pick<KeyStore, 'find' | 'isGood'>;

/** The keys of the settings as they are now. */
export type SettingsKeys = () => readonly ApiKey[];

/** Whether the key of an id is still one: one of the settings, or a stored one that is good. */
export function keyLookup(keys: SettingsKeys, stored?: StoredKeys): (id: string) => boolean {
  return (id) => keys().some((key) => settingsKeyId(key) === id) || (stored?.isGood(id) ?? false);
}

export function identifier(
  config: Pick<Config, 'auth' | 'open_webui' | 'oidc'>,
  stored?: StoredKeys,
  keys: SettingsKeys = () => config.auth.keys,
  more: readonly TokenUsers[] = [],
): Identify {
  if (config.auth.mode === 'none') return async () => ({ principal: anonymous, secrets: [] });
  const find = ownerFinder(keys, stored);
  const policy = groupPolicy(config.auth.groups);
  const users = { headers: headerUsers(config.open_webui), signed: signedUsers(config.open_webui) };
  const known = [sessionTokens(config.open_webui), oidcTokens(config.oidc)].filter((kind) => kind !== undefined);
  const tokens = [...known, ...more];
  return async (header) => {
    const bearer = bearerToken(header('authorization'));
    if (bearer === undefined) throw refused;
    const key = find(bearer);
    if (key) {
      const principal = key.users ? await keyUser(key, users[key.users], policy, header) : key.principal;
      const isSigned = key.users === 'signed' && principal.refusal === undefined;
      const userProof = isSigned ? header(config.open_webui.jwt_header)?.trim() : undefined;
      const secrets = userProof === undefined ? [bearer] : [bearer, userProof];
      return { principal, secrets, ...(key.isGood && { isGood: key.isGood }) };
    }
    const owner = await tokenOwner(tokens, bearer, header);
    if (!owner) throw refused;
    const principal = userPrincipal(owner.kind.prefix, owner.user, policy(owner.user.groups));
    return { principal, secrets: [bearer], ...(owner.kind.forwarded && { userToken: bearer }) };
  };
}

const refused = new AppError('unauthorized', 'A valid API key is required: send it as "Authorization: Bearer <key>".');

export function bearerToken(header: string | undefined): string | undefined {
  return /^Bearer +(\S+)$/i.exec(header ?? '')?.[1];
}

async function tokenOwner(kinds: readonly TokenUsers[], token: string, header: HeaderOf) {
  for (const kind of kinds) {
    const user = await kind.userOf(token, header);
    if (user) return { kind, user };
  }
  return undefined;
}

/** Whose key it is, and whether he speaks for others. */
interface Owner {
  readonly name: string;
  readonly users?: 'headers' | 'signed';
  readonly isGood?: () => boolean;
  /** The owner himself. */
  readonly principal: Principal;
}

/** Finds a key's owner: a key of the settings is an owner by itself, all stored keys of one name are one owner's. */
function ownerFinder(keys: SettingsKeys, stored: StoredKeys | undefined) {
  let known = keys();
  let find = keyFinder(known);
  return (token: string): Owner | undefined => {
    if (keys() !== known) find = keyFinder((known = keys()));
    const key = find(token);
    const isGood = () => keys().some(({ sha256 }) => sha256 === key?.sha256);
    if (key) return { ...ownerOf(key, settingsPrincipal(key), settingsKeyId(key)), isGood };
    const look = () => stored?.find(token);
    const kept = look();
    return kept && { ...ownerOf(kept, `owner:${kept.name}`, kept.id), isGood: () => look() !== undefined };
  };
}

function ownerOf(
  { name, users, templates, scopes }: Pick<ApiKey, 'name' | 'users'> & Pick<Principal, 'templates' | 'scopes'>,
  id: string,
  provedBy: string,
): Owner {
  return {
    name,
    ...(users && { users }),
    principal: { id, provedBy, ...(templates && { templates }), ...(scopes && { scopes }) },
  };
}

/** A key's user, or, where the request names none rightly, a principal that may look at the tools and not call them. */
async function keyUser(key: Owner, users: Users, policy: GroupPolicy, header: HeaderOf): Promise<Principal> {
  const found = await users(header);
  const { id, provedBy, templates, scopes } = key.principal;
  if ('refusal' in found) return { ...key.principal, id: `${id}:nobody`, templates: [], refusal: found.refusal };
  return userPrincipal(`user:${key.name}`, found, {
    ...both(templates, policy(found.groups)),
    ...(scopes && { scopes }),
    ...(provedBy !== undefined && { provedBy }),
  });
}

type Rights = Pick<Principal, 'templates' | 'sandboxes' | 'scopes' | 'provedBy'>;

function userPrincipal(prefix: string, user: User, rights: Rights): Principal {
  return { id: `${prefix}:${boundedId(user.id)}`, endUser: true, ...rights };
}

/** What the key and the groups both allow, in the groups' order. */
function both(key: readonly string[] | undefined, rights: ReturnType<GroupPolicy>): ReturnType<GroupPolicy> {
  if (!key) return rights;
  return { ...rights, templates: rights.templates?.filter((name) => key.includes(name)) ?? key };
}
