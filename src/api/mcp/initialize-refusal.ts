import { isInitializeRequest } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { describeIssue } from './issue.ts';

const params = z.looseObject({
  protocolVersion: z.string(),
  capabilities: z.looseObject({}),
  clientInfo: z.looseObject({ name: z.string(), version: z.string() }),
});

/** The answer to an `initialize` that the SDK does not know for one; it would count as a request without a session. */
export function initializeRefusal(body: unknown): Response | undefined {
  const { id, method, params: sent } = (body ?? {}) as { id?: unknown; method?: unknown; params?: unknown };
  if (method !== 'initialize' || isInitializeRequest(body)) return undefined;
  const issue = params.safeParse(sent ?? {}, { reportInput: true }).error?.issues[0];
  const message = issue ? describeIssue('initialize', [], issue) : 'The params of initialize are invalid.';
  const echoed = typeof id === 'string' || typeof id === 'number' ? id : null;
  return Response.json({ jsonrpc: '2.0', id: echoed, error: { code: -32602, message } }, { status: 400 });
}
