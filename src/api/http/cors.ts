import { createMiddleware } from 'hono/factory';
import type { Context } from 'hono';
import type { Config } from '../../config.ts';
import type { HttpEnv } from './env.ts';
import { acceptedOrigins } from './origin.ts';

const methods = 'GET, HEAD, POST, PUT, PATCH, DELETE';
/** What scripts may read of an answer besides its body. */
const exposed = [
  'Mcp-Session-Id',
  'MCP-Protocol-Version',
  'WWW-Authenticate',
  'Retry-After',
  'X-Request-Id',
  'Allow',
  'Content-Disposition',
  'Content-Length',
  'Content-Range',
  'Accept-Ranges',
  'ETag',
].join(', ');
const preflightSeconds = 600;
const longestHeaderList = 2048;

/**
 * Lets scripts of the accepted origins read answers, refusals too. A preflight carries no key, so it is answered before
 * anyone asks for one. Other origins get nothing. Credentials are never allowed: a key travels in a header.
 */
export function cors(settings: Config['server']) {
  const accepts = acceptedOrigins(settings);
  return createMiddleware<HttpEnv>(async (c, next) => {
    const origin = c.req.header('origin');
    if (!origin) return await next();
    const accepted = accepts(origin);
    if (accepted && isPreflight(c)) return preflight(c, origin);
    await next();
    c.header('Vary', 'Origin', { append: true });
    if (!accepted) return;
    c.header('Access-Control-Allow-Origin', origin);
    c.header('Access-Control-Expose-Headers', exposed);
  });
}

function isPreflight(c: Context<HttpEnv>): boolean {
  return c.req.method === 'OPTIONS' && c.req.header('access-control-request-method') !== undefined;
}

function preflight(c: Context<HttpEnv>, origin: string): Response {
  const asked = c.req.header('access-control-request-headers') ?? '';
  const headers = {
    'Access-Control-Allow-Origin': origin,
    'Access-Control-Allow-Methods': methods,
    'Access-Control-Max-Age': String(preflightSeconds),
    Vary: 'Origin, Access-Control-Request-Headers',
    ...(asked && asked.length <= longestHeaderList && { 'Access-Control-Allow-Headers': asked }),
  };
  return new Response(null, { status: 204, headers });
}
