import { createHash, timingSafeEqual } from 'node:crypto';
import { createMiddleware } from 'hono/factory';
import type { ApiKey, Config } from '../config.ts';
import { AppError } from '../errors.ts';
import type { Principal } from '../sandbox/key.ts';
import type { HttpEnv } from './env.ts';

const anonymous: Principal = { id: 'anonymous' };

/** Proves who is calling. Sets `principal`, or refuses with `unauthorized`. */
export function authenticate(settings: Config['auth']) {
  const find = keyFinder(settings.keys);
  return createMiddleware<HttpEnv>(async (c, next) => {
    const token = bearerToken(c.req.header('authorization'));
    const principal = settings.mode === 'none' ? anonymous : find(token);
    if (!principal)
      throw new AppError('unauthorized', 'A valid API key is required: send it as "Authorization: Bearer <key>".');
    c.set('principal', principal);
    if (token) c.set('secrets', [token]);
    await next();
  });
}

/** Compares with every key in constant time, so that neither a match nor its place shows in the time taken. */
function keyFinder(keys: readonly ApiKey[]): (token: string | undefined) => Principal | undefined {
  const known = keys.map((key) => ({ hash: Buffer.from(key.sha256, 'hex'), principal: principalOf(key) }));
  return (token) => {
    if (!token) return undefined;
    const hash = createHash('sha256').update(token).digest();
    return known.reduce<Principal | undefined>(
      (found, key) => (timingSafeEqual(key.hash, hash) ? key.principal : found),
      undefined,
    );
  };
}

function principalOf(key: ApiKey): Principal {
  return { id: `key:${key.sha256.slice(0, 32)}`, ...(key.templates && { templates: key.templates }) };
}

function bearerToken(header: string | undefined): string | undefined {
  return /^Bearer +(\S+)$/i.exec(header ?? '')?.[1];
}
