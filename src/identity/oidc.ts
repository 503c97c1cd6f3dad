import { createRemoteJWKSet, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from 'jose';
import type { Config } from '../config.ts';
import { algorithmOf, type TokenUsers } from './open-webui.ts';
import type { User } from './user.ts';

/** Signatures by a key pair, never by a secret: whoever can check one cannot make one. */
const algorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];

/** Access tokens of an OpenID Connect issuer. */
export function oidcTokens(settings: Config['oidc']): TokenUsers | undefined {
  const { issuer, audience } = settings;
  if (issuer === undefined || audience === undefined) return undefined;
  const keys = keysOf(issuer, settings.jwks_url);
  return {
    prefix: `oidc:${issuer}`,
    async userOf(token) {
      if (!algorithms.includes(algorithmOf(token) ?? '')) return undefined;
      const options = { algorithms, issuer, audience, clockTolerance: 5, requiredClaims: ['exp'] };
      const claims = await jwtVerify(token, keys, options).catch(() => undefined);
      return claims && userOf(claims.payload, settings);
    },
  };
}

function userOf(claims: JWTPayload, settings: Config['oidc']): User | undefined {
  const id = claims[settings.user_claim];
  if (typeof id !== 'string' || id === '') return undefined;
  const groups = claims[settings.groups_claim];
  return { id, groups: Array.isArray(groups) ? groups.filter((group) => typeof group === 'string') : [] };
}

/** The issuer's keys, where its discovery document says they are; looked up at the first token. */
function keysOf(issuer: string, jwksUrl: string | undefined): JWTVerifyGetKey {
  let found: Promise<JWTVerifyGetKey> | undefined;
  const find = async () => createRemoteJWKSet(new URL(jwksUrl ?? (await discover(issuer))));
  return async (header, token) => {
    found ??= find();
    found.catch(() => (found = undefined));
    return (await found)(header, token);
  };
}

async function discover(issuer: string): Promise<string> {
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const answer = await fetch(url, { signal: AbortSignal.timeout(5000), redirect: 'error' });
  const { issuer: said, jwks_uri: keys } = (await answer.json()) as { issuer?: string; jwks_uri?: string };
  if (said !== issuer || typeof keys !== 'string') throw new Error(`${url} is not the discovery document of ${issuer}`);
  return keys;
}
