import type { Context } from 'hono';
import type { HttpEnv } from './env.ts';

/** Says which methods a route has; belongs behind all of them. */
export function onlyMethods(allow: string) {
  return (c: Context<HttpEnv>): Response => {
    const message = `${c.req.method} is not a method of ${c.req.path.slice(0, 200)}; it takes ${allow}.`;
    return Response.json({ error: { code: 'invalid_argument', message } }, { status: 405, headers: { allow } });
  };
}
