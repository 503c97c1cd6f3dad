import { decodeProtectedHeader, errors, jwtVerify, type JWTPayload, type JWTVerifyOptions } from 'jose';
import type { Config } from '../config.ts';
import { listOf, type HeaderOf, type User } from './user.ts';
import { TokenMemory } from './token-memory.ts';

type Settings = Config['open_webui'];

/** The user a request of a shared connection names, or a sentence on why there is none to be believed. */
export type Users = (header: HeaderOf) => Promise<User | { readonly refusal: string }>;

/** Tokens that are a user's own. */
export interface TokenUsers {
  /** What the principal's id begins with. */
  readonly prefix: string;
  /** The application in front takes the same token, so that calls may act there for the user. */
  readonly forwarded?: true;
  /** The token's user; `undefined` for a token that is not good, or not of this kind. */
  readonly userOf: (token: string, header: HeaderOf) => Promise<User | undefined>;
}

/** Users named in a plain header, by a connection the operator trusts. */
export function headerUsers(settings: Settings): Users {
  return async (header) => {
    const id = header(settings.user_header)?.trim();
    if (id) return { id, groups: listOf(header(settings.groups_header)) };
    return {
      refusal: `This connection serves many users, and the request named none: its headers need "${settings.user_header}": "{{USER_ID}}".`,
    };
  };
}

/** Users named by a token that Open WebUI signs for each reply. Plain headers never count. */
export function signedUsers(settings: Settings): Users {
  const key = keyOf(settings.jwt_secret);
  const memory = new TokenMemory(settings.reply_timeout);
  return async (header) => {
    const token = header(settings.jwt_header)?.trim();
    if (!token) return { refusal: missing(settings, header) };
    try {
      const { sub } = await verified(token, key, memory);
      if (!sub) return { refusal: 'The token that names the user is not acceptable: its claim "sub" is empty.' };
      return { id: sub, groups: settings.unsigned_groups ? listOf(header(settings.groups_header)) : [] };
    } catch (error) {
      return { refusal: reason(error) };
    }
  };
}

const hs256: JWTVerifyOptions = { algorithms: ['HS256'], clockTolerance: 5 };

/**
 * The claims of a good token. One that has expired is good for as long as the reply goes on that began with it: its
 * headers are fixed at the reply's start.
 */
async function verified(token: string, key: Uint8Array, memory: TokenMemory): Promise<JWTPayload> {
  const options = { ...hs256, issuer: 'open-webui', requiredClaims: ['sub', 'exp'] };
  try {
    const { payload } = await jwtVerify(token, key, options);
    memory.keep(token);
    return payload;
  } catch (error) {
    // Thrown after the signature and the issuer have been found good.
    if (error instanceof errors.JWTExpired && error.claim === 'exp' && memory.holds(token)) return error.payload;
    throw error;
  }
}

function missing(settings: Settings, header: HeaderOf): string {
  const plain = header(settings.user_header) ? ' It carried plain headers, which do not count here.' : '';
  return `This connection takes users by a signed token only, and the request carried none: Open WebUI needs ENABLE_FORWARD_USER_INFO_HEADERS=true and FORWARD_USER_INFO_HEADER_JWT_SECRET.${plain}`;
}

function reason(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'The token that names the user has expired; send the message again.';
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return 'The token that names the user was signed with another secret: open_webui.jwt_secret and Open WebUI’s FORWARD_USER_INFO_HEADER_JWT_SECRET have to be the same.';
  if (error instanceof errors.JWTClaimValidationFailed)
    return `The token that names the user is not acceptable: its claim "${error.claim}" is not what it must be.`;
  return 'The token that names the user is no token signed by Open WebUI with HS256.';
}

/** The tokens by which users are signed in to Open WebUI itself. */
export function sessionTokens(settings: Settings): TokenUsers | undefined {
  if (settings.session_secret === undefined) return undefined;
  const key = keyOf(settings.session_secret);
  return {
    prefix: 'webui',
    forwarded: true,
    async userOf(token, header) {
      if (algorithmOf(token) !== 'HS256') return undefined;
      const claims = await jwtVerify(token, key, hs256).catch(() => undefined);
      const id = claims?.payload['id'];
      if (typeof id !== 'string' || id === '') return undefined;
      return { id, groups: settings.unsigned_groups ? listOf(header(settings.groups_header)) : [] };
    },
  };
}

/** The algorithm a JWT says it is signed with; `undefined` for what is no JWT. */
export function algorithmOf(token: string): string | undefined {
  try {
    return decodeProtectedHeader(token).alg;
  } catch {
    return undefined;
  }
}

function keyOf(secret: string | undefined): Uint8Array {
  return new TextEncoder().encode(secret ?? '');
}
