import { randomUUID } from 'node:crypto';
import { createMiddleware } from 'hono/factory';
import type { HttpEnv } from './env.ts';

/** Gives each request an id: the caller's `X-Request-Id` when it is short and plain, else a new one; echoed in the answer. */
export function requestId() {
  return createMiddleware<HttpEnv>(async (c, next) => {
    const given = c.req.header('x-request-id');
    const id = given && /^[\w.:-]{1,64}$/.test(given) ? given : randomUUID();
    c.set('requestId', id);
    await next();
    c.res.headers.set('x-request-id', id);
  });
}
