import { createHash } from 'node:crypto';
import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import type { Logger } from 'pino';
import type { Metrics } from '../../metrics.ts';
import type { HttpEnv } from './env.ts';
import type { ClientAddress } from './forwarded.ts';

/** One log line and one observation per request, when its last byte has gone or its connection is lost. */
export function logLine(log: Logger, metrics: Metrics, addressOf: ClientAddress) {
  return createMiddleware<HttpEnv>(async (c, next) => {
    const started = performance.now();
    c.set('log', log.child({ request_id: c.get('requestId') }));
    const peer = c.env?.incoming?.socket.remoteAddress;
    c.set(
      'client',
      addressOf(peer, (name) => c.req.header(name)),
    );
    c.set('line', {});
    c.set('secrets', []);
    const outgoing = c.env.outgoing;
    const finish = () => report(c, metrics, (performance.now() - started) / 1000, outgoing?.writableFinished ?? true);
    outgoing?.once('close', finish);
    await next();
    if (!outgoing) finish();
  });
}

function report(c: Context<HttpEnv>, metrics: Metrics, seconds: number, complete: boolean): void {
  const { method } = c.req;
  const { status } = c.res;
  const route = routeOf(c.req.path);
  const principal = c.get('principal');
  const client = c.get('client');
  metrics.request(route, method, status, seconds);
  const { quiet: polled, ...line } = c.get('line');
  const fields = {
    method,
    path: route === 'other' ? c.req.path.slice(0, 200) : c.req.path.slice(0, 500),
    status,
    ms: Math.round(seconds * 10_000) / 10,
    ...(client !== undefined && { client }),
    ...(principal && { principal: shortHash(principal.id) }),
    ...line,
    ...(!complete && { aborted: true }),
  };
  const quiet = polled === true || route === '/health' || route === '/ready' || route === '/metrics';
  c.get('log')[quiet ? 'debug' : 'info'](fields, 'request');
}

/** The route as a metrics label: a fixed set. */
function routeOf(path: string): string {
  if (['/mcp', '/health', '/ready', '/metrics'].includes(path)) return path;
  if (/^\/sandboxes\/[^/]+\/files(\/|$)/.test(path)) return '/sandboxes/files';
  if (/^\/sandboxes\/[^/]+\/terminals(\/|$)/.test(path)) return '/sandboxes/terminals';
  if (path.startsWith('/open-terminal/')) return '/open-terminal';
  return 'other';
}

/** Tells callers apart in a log without naming them. */
export function shortHash(id: string): string {
  return createHash('sha256').update(id).digest('hex').slice(0, 12);
}
