import { createMiddleware } from 'hono/factory';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { AppError } from '../errors.ts';
import type { HttpEnv } from './env.ts';

/** At most so many requests per principal and minute; 0 = no limit. */
export function rateLimit(perMinute: number) {
  const limiter = perMinute > 0 ? new RateLimiterMemory({ points: perMinute, duration: 60 }) : undefined;
  return createMiddleware<HttpEnv>(async (c, next) => {
    await limiter?.consume(c.get('principal').id).catch((refusal: unknown) => {
      if (!(refusal instanceof RateLimiterRes)) throw refusal;
      throw refused(perMinute, refusal.msBeforeNext / 1000);
    });
    await next();
  });
}

function refused(perMinute: number, wait: number): AppError {
  const seconds = Math.ceil(wait);
  return new AppError('busy', `More than ${perMinute} requests in a minute; try again in ${seconds} s.`, {
    data: { retry_after: seconds },
  });
}
