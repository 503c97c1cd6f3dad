import type { ApiKey, Config } from '../config.ts';
import { AppError } from '../errors.ts';
import type { Principal } from '../sandbox/key.ts';
import { groupPolicy, type GroupPolicy } from './identity-groups.ts';
import { keyFinder } from './identity-keys.ts';
import { oidcTokens } from './identity-oidc.ts';
import { headerUsers, sessionTokens, signedUsers, type TokenUsers, type Users } from './identity-open-webui.ts';
import { boundedId, type HeaderOf, type User } from './identity-user.ts';

export interface Identified {
  readonly principal: Principal;
  /** The token that was the proof, where the application in front takes it, too. */
  readonly userToken?: string;
}

/** Finds out who sends a request. Rejects with `unauthorized` for who proves nothing. */
export type Identify = (header: HeaderOf) => Promise<Identified>;

const anonymous: Principal = { id: 'anonymous' };

export function identifier(config: Pick<Config, 'auth' | 'open_webui' | 'oidc'>): Identify {
  if (config.auth.mode === 'none') return async () => ({ principal: anonymous });
  const find = keyFinder(config.auth.keys);
  const policy = groupPolicy(config.auth.groups);
  const users = { headers: headerUsers(config.open_webui), signed: signedUsers(config.open_webui) };
  const tokens = [sessionTokens(config.open_webui), oidcTokens(config.oidc)].filter((kind) => kind !== undefined);
  return async (header) => {
    const bearer = bearerToken(header('authorization'));
    const key = find(bearer);
    if (key?.users) return { principal: await keyUser(key, users[key.users], policy, header) };
    if (key) return { principal: keyPrincipal(key) };
    const owner = bearer && (await tokenOwner(tokens, bearer, header));
    if (!owner) throw refused;
    const principal = userPrincipal(owner.kind.prefix, owner.user, policy(owner.user.groups));
    return owner.kind.forwarded ? { principal, userToken: bearer } : { principal };
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

function keyPrincipal(key: ApiKey): Principal {
  return { id: `key:${key.sha256.slice(0, 32)}`, ...(key.templates && { templates: key.templates }) };
}

/** A key's user, or, where the request names none rightly, a principal that may look at the tools and not call them. */
async function keyUser(key: ApiKey, users: Users, policy: GroupPolicy, header: HeaderOf): Promise<Principal> {
  const found = await users(header);
  if ('refusal' in found) return { id: `${keyPrincipal(key).id}:nobody`, templates: [], refusal: found.refusal };
  return userPrincipal(`user:${key.name}`, found, both(key.templates, policy(found.groups)));
}

function userPrincipal(prefix: string, user: User, rights: Pick<Principal, 'templates' | 'sandboxes'>): Principal {
  return { id: `${prefix}:${boundedId(user.id)}`, endUser: true, ...rights };
}

/** What the key and the groups both allow, in the groups' order. */
function both(key: readonly string[] | undefined, rights: ReturnType<GroupPolicy>): ReturnType<GroupPolicy> {
  if (!key) return rights;
  return { ...rights, templates: rights.templates?.filter((name) => key.includes(name)) ?? key };
}
