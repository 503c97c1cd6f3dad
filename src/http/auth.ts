import { createMiddleware } from 'hono/factory';
import type { Config } from '../config.ts';
import { AppError } from '../errors.ts';
import type { HttpEnv } from './env.ts';
import { bearerToken, identifier, type StoredKeys } from './identity.ts';

/** What is shorter is no secret of anybody's, and may well be a part of a word. */
const shortestSecret = 16;

const always = () => true;

/**
 * Proves who is calling. Sets `principal`, or refuses with `unauthorized`. On `/mcp` a shared connection that names no
 * user passes as a principal with a `refusal`: it may connect and list the tools.
 */
export function authenticate(config: Config, stored?: StoredKeys) {
  const identify = identifier(config, stored);
  return createMiddleware<HttpEnv>(async (c, next) => {
    const taken = new Map<string, string | undefined>();
    const header = (name: string) => {
      const value = c.req.header(name);
      taken.set(name, value);
      return value;
    };
    const { principal, userToken, isGood = always } = await identify(header);
    const userHeader = principal.refusal === undefined ? config.open_webui.jwt_header : undefined;
    c.set('secrets', proofs(taken, userHeader));
    if (principal.refusal !== undefined && c.req.path !== '/mcp') throw new AppError('unauthorized', principal.refusal);
    c.set('principal', principal);
    c.set('userToken', userToken);
    c.set('isGood', isGood);
    await next();
  });
}

/**
 * The tokens that proved who is calling, of the headers that identification took. Any other is a text of the caller's
 * choice: as a secret it would let him choose what is left out of his recordings. No `userHeader`: the user was refused.
 */
function proofs(taken: ReadonlyMap<string, string | undefined>, userHeader: string | undefined): string[] {
  const user = userHeader === undefined ? undefined : taken.get(userHeader)?.trim();
  const tokens = [bearerToken(taken.get('authorization')), user];
  return tokens.filter((token) => token !== undefined).filter((token) => token.length >= shortestSecret);
}
