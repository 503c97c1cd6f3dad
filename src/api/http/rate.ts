import { createMiddleware } from 'hono/factory';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { AppError } from '../../errors.ts';
import type { Principal } from '../../identity/key.ts';
import type { HttpEnv } from './env.ts';
import { anonymousId } from '../../identity/identity.ts';

/** Requests per minute; 0 = no limit. */
export interface RateLimits {
  /** Of one principal. */
  readonly each: number;
  readonly total: number;
}

/**
 * At most so many requests a minute. A refused message to `/mcp` goes on with its `refusal`, since what a tool's caller
 * has to be told is told by a result.
 */
export function rateLimit({ each, total }: RateLimits) {
  const own = limiter(each, 'You sent');
  const all = limiter(total, 'All clients together sent');
  return createMiddleware<HttpEnv>(async (c, next) => {
    const refusal = (await own?.(callerOf(c.get('principal'), c.get('client')))) ?? (await all?.(''));
    const isMessage = c.req.path === '/mcp' && c.req.method === 'POST';
    if (refusal && !isMessage) throw refusal;
    c.set('refusal', refusal);
    await next();
  });
}

/** Without keys all are one principal; their addresses tell them apart. */
function callerOf({ id }: Principal, client = ''): string {
  return id === anonymousId ? `${id}@${client}` : id;
}

/** Counts a request of a name; what it is refused with when there are too many. */
function limiter(perMinute: number, who: string): ((name: string) => Promise<AppError | undefined>) | undefined {
  if (perMinute === 0) return undefined;
  const memory = new RateLimiterMemory({ points: perMinute, duration: 60 });
  return async (name) => {
    try {
      await memory.consume(name);
      return undefined;
    } catch (refusal) {
      if (!(refusal instanceof RateLimiterRes)) throw refusal;
      return refused(`${who} more than ${perMinute} requests in a minute`, refusal.msBeforeNext / 1000);
    }
  };
}

function refused(why: string, wait: number): AppError {
  const seconds = Math.ceil(wait);
  return new AppError('busy', `${why}; try again in ${seconds} s.`, { data: { retry_after: seconds } });
}
