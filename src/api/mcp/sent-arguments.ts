import { describeIssue } from './issue.ts';

interface ToolCallBody {
  readonly id: string | number;
  readonly params: { readonly arguments: unknown };
}

/** The answer to a tools/call whose arguments are no object. The SDK's own has many lines and names no argument. */
export function argumentsRefusal(body: unknown): Response | undefined {
  if (!hasArguments(body)) return undefined;
  const { id, params } = body;
  const input = params.arguments;
  if (typeof input === 'object' && !Array.isArray(input)) return undefined;
  const message = describeIssue('tools/call', [], {
    code: 'invalid_type',
    expected: 'object',
    path: ['arguments'],
    input,
    message: '',
  });
  return Response.json({ jsonrpc: '2.0', id, error: { code: -32602, message } });
}

function hasArguments(body: unknown): body is ToolCallBody {
  const { id, method, params } = (body ?? {}) as { id?: unknown; method?: unknown; params?: unknown };
  const isCall = method === 'tools/call' && (typeof id === 'string' || typeof id === 'number');
  return isCall && typeof params === 'object' && params !== null && 'arguments' in params;
}
