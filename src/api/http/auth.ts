import { createMiddleware } from 'hono/factory';
import type { Config } from '../../config.ts';
import { AppError } from '../../errors.ts';
import type { HttpEnv } from './env.ts';
import { identifier, type SettingsKeys, type StoredKeys } from '../../identity/identity.ts';

/** What is shorter is no secret of anybody's, and may well be a part of a word. */
const shortestSecret = 16;

const always = () => true;

/**
 * Proves who is calling. Sets `principal`, or refuses with `unauthorized`. On `/mcp` a shared connection that names no
 * user passes as a principal with a `refusal`: it may connect and list the tools.
 */
export function authenticate(config: Config, stored?: StoredKeys, keys?: SettingsKeys) {
  const identify = identifier(config, stored, keys);
  return createMiddleware<HttpEnv>(async (c, next) => {
    const { principal, secrets, userToken, isGood = always } = await identify((name) => c.req.header(name));
    c.set(
      'secrets',
      secrets.filter(({ length }) => length >= shortestSecret),
    );
    if (principal.refusal !== undefined && c.req.path !== '/mcp') throw new AppError('unauthorized', principal.refusal);
    c.set('principal', principal);
    c.set('userToken', userToken);
    c.set('isGood', isGood);
    await next();
  });
}
