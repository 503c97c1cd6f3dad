import type { Context } from 'hono';
import { errorTable, toAppError, type AppError } from '../../errors.ts';
import type { HttpEnv } from './env.ts';

/** An error as the route's clients read it: JSON-RPC on `/mcp`, `{ error: { code, message } }` elsewhere. */
export function errorResponse(c: Context<HttpEnv>, error: AppError): Response {
  const { http, rpc } = errorTable[error.code];
  const headers: Record<string, string> = {};
  if (error.code === 'unauthorized') headers['www-authenticate'] = 'Bearer realm="berth"';
  const retryAfter = error.data['retry_after'];
  if (typeof retryAfter === 'number') headers['retry-after'] = String(Math.ceil(retryAfter));
  const { message, code, data } = error;
  const body =
    c.req.path === '/mcp'
      ? { jsonrpc: '2.0', error: { code: rpc, message, data: { code, ...data } }, id: null }
      : { error: { code, message, ...data } };
  return Response.json(body, { status: http, headers });
}

/** The last resort: an unexpected error is logged whole and told as `internal`. */
export function onError(error: Error, c: Context<HttpEnv>): Response {
  const known = toAppError(error);
  const log = c.get('log') as HttpEnv['Variables']['log'] | undefined;
  if (known.code === 'internal') log?.error({ err: error }, 'request failed');
  return errorResponse(c, known);
}
