import { createMiddleware } from 'hono/factory';
import { withCallContext } from '../../sandbox/call-context.ts';
import type { HttpEnv } from './env.ts';

/** What a request makes a sandbox do is done in the request's name. A tools/call has a name of its own. */
export function inCallContext() {
  return createMiddleware<HttpEnv>(async (c, next) => {
    const name = {
      requestId: c.get('requestId'),
      tool: `${c.req.method} ${roomOf(c.req.path)}`,
      // Known only once it is proved.
      get principal() {
        return c.get('principal');
      },
      get secrets() {
        return c.get('secrets');
      },
    };
    await withCallContext(name, next);
  });
}

/** From a fixed set. */
function roomOf(path: string): string {
  const [, first = '', , third = ''] = path.split('/');
  if (first === 'sandboxes') return third === 'terminals' ? 'terminal' : 'files';
  return { s: 'share', u: 'upload', mcp: 'mcp', 'open-terminal': 'open-terminal' }[first] ?? 'other';
}
