import { errorTable, toAppError } from '../../errors.ts';
import type { Context } from 'hono';
import type { PaneEnv } from './env.ts';

/** Open WebUI shows `detail` to the user. */
export function paneError(error: unknown, c: Context<PaneEnv>): Response {
  const known = toAppError(error);
  if (known.code === 'internal') c.get('log').error({ err: error }, 'request failed');
  const retryAfter = known.data['retry_after'];
  const headers = typeof retryAfter === 'number' ? { 'retry-after': String(Math.ceil(retryAfter)) } : undefined;
  return Response.json({ detail: known.message }, { status: errorTable[known.code].http, ...(headers && { headers }) });
}

export function detail(status: number, sentence: string): Response {
  return Response.json({ detail: sentence }, { status });
}
