import { Hono } from 'hono';
import { getPath } from 'hono/utils/url';
import type { Config } from '../../config.ts';
import type { McpEndpoint } from '../mcp/endpoint.ts';
import { rpcErrorResponse } from '../mcp/rpc-error.ts';
import { oneLine } from '../../lib/text.ts';
import { readJson } from './body.ts';
import type { HttpEnv } from './env.ts';
import { unreadable } from './json-form.ts';
import { baseUrl } from './oauth-metadata.ts';

/** The path that routes and checks see: clients also write `/mcp/`. */
export function routePath(request: Request): string {
  const path = getPath(request);
  return path === '/mcp/' ? '/mcp' : path;
}

/** `/mcp`. Only a POST has a body: some clients announce JSON on a GET or DELETE that has none. */
export function mcpRoutes(endpoint: McpEndpoint, config: Config): Hono<HttpEnv> {
  return new Hono<HttpEnv>().all('/mcp', async (c) => {
    const unsupported = c.req.method === 'POST' ? unreadable(c.req.raw.headers) : undefined;
    if (unsupported !== undefined) return rpcErrorResponse(415, -32000, unsupported);
    const body = c.req.method === 'POST' ? await readJson(c.req.raw, config.server.body_limit) : undefined;
    Object.assign(c.get('line'), summary(body, c.req.header('mcp-session-id')));
    const refusal = c.get('refusal');
    if (refusal && !isToolCall(body)) throw refusal;
    const caller = {
      ...(refusal && { refusal }),
      principal: c.get('principal'),
      requestId: c.get('requestId'),
      log: c.get('log'),
      secrets: c.get('secrets'),
      baseUrl: baseUrl(c, config),
      userToken: c.get('userToken'),
    };
    return endpoint.handle(c.req.raw, caller, body);
  });
}

function isToolCall(body: unknown): boolean {
  return (body as { method?: unknown } | undefined)?.method === 'tools/call';
}

/** What of a message belongs into the request's log line. */
function summary(body: unknown, session: string | undefined): Record<string, unknown> {
  const { method, params } = (body ?? {}) as { method?: unknown; params?: { name?: unknown } };
  return {
    ...(typeof method === 'string' && { rpc: oneLine(method, 64) }),
    ...(method === 'tools/call' && typeof params?.name === 'string' && { tool: oneLine(params.name, 64) }),
    ...(session && { session: oneLine(session, 64) }),
  };
}
