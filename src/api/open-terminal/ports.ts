import { posix } from 'node:path';
import { Hono } from 'hono';
import type { Config } from '../../config.ts';
import { proxyRequest } from '../previews/proxy-request.ts';
import { refuseForbidden } from '../previews/share.ts';
import type { Sandboxes } from '../../sandbox/sandboxes.ts';
import { glanceOf, moving, type PaneContext } from './call.ts';
import type { PaneEnv } from './env.ts';
import { detail } from './errors.ts';

export interface PanePortsContext {
  readonly sandboxes: Sandboxes;
  readonly config: Config;
}

/** What listens in a sandbox that runs, and its pages. Both wake nothing. */
export function portRoutes(ctx: PanePortsContext): Hono<PaneEnv> {
  return new Hono<PaneEnv>()
    .get('/ports', (c) => list(ctx, c))
    .all('/proxy/:port', (c) => proxy(ctx, c))
    .all('/proxy/:port/*', (c) => proxy(ctx, c));
}

async function list({ sandboxes }: PanePortsContext, c: PaneContext): Promise<Response> {
  const listening = (await glanceOf(sandboxes, c)?.ports.list()) ?? [];
  const ports = listening.map(({ port, pid, program }) => ({ port, pid: pid || null, process: program || null }));
  return c.json({ ports });
}

const notListening = 'Nothing listens on this port.';

async function proxy({ sandboxes, config }: PanePortsContext, c: PaneContext): Promise<Response> {
  const port = Number(c.req.param('port'));
  const glance = glanceOf(sandboxes, c);
  if (!Number.isInteger(port) || port < 1 || port > 65_535 || !glance) return detail(404, notListening);
  const { principal } = c.get('key');
  const known = await sandboxes.list(principal);
  const template = known.find(({ sandbox }) => sandbox === glance.handle)?.template ?? '';
  refuseForbidden(config, { template, port });
  return await moving(sandboxes, c, async ({ lease, body }) => {
    const { ports } = lease.workspace;
    const headersTimeout = config.previews.headers_timeout * 1000;
    const path = proxiedPath(c);
    try {
      const answer = await proxyRequest(c.req.raw, { ports, port, path, prefix: '', headersTimeout });
      const headers = new Headers(answer.headers);
      const location = headers.get('location');
      if (location !== null) headers.set('location', relativeTo(path, location, new URL(c.req.url).origin));
      return new Response(answer.body && body(answer.body), { status: answer.status, headers });
    } catch (error) {
      return refusal((error as { code?: string }).code);
    }
  });
}

/** What follows the port in the request's path, with its query, as it was sent. */
function proxiedPath(c: PaneContext): string {
  const { pathname, search } = new URL(c.req.url);
  const [, rest = ''] = /\/proxy\/\d+(.*)$/s.exec(pathname) ?? [];
  return (rest || '/') + search;
}

/** The page is seen under a path that only the browser knows: a redirect within it has to be a relative one. */
function relativeTo(path: string, location: string, origin: string): string {
  const place = location.startsWith(`${origin}/`) ? location.slice(origin.length) : location;
  if (!place.startsWith('/') || place.startsWith('//')) return place;
  const [target = '', ...rest] = place.split(/(?=[?#])/);
  const from = path.split('?')[0] ?? '/';
  const up = posix.relative(from.endsWith('/') ? from : posix.dirname(from), target) || '.';
  return (target.endsWith('/') && up !== '.' ? `${up}/` : up === '.' ? './' : up) + rest.join('');
}

function refusal(code = ''): Response {
  if (code === 'ECONNREFUSED') return detail(404, notListening);
  if (code === 'ETIMEDOUT') return detail(504, 'The program on this port does not answer.');
  return detail(502, 'The program on this port broke the connection off.');
}
