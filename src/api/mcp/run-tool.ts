import type { CallToolResult } from '@modelcontextprotocol/server';
import { AppError, isDraining, toAppError } from '../../errors.ts';
import { withCallContext } from '../../sandbox/call-context.ts';
import type { Key, Principal } from '../../identity/key.ts';
import type { Lease } from '../../sandbox/sandboxes.ts';
import type { ChatApi } from './chat-api.ts';
import type { Tool } from './define-tool.ts';
import { mayCall, mayOnlyLook } from './rights.ts';
import type { McpContext } from './context.ts';
import { earlierSandbox } from './session-trail.ts';
import { linker } from './linker.ts';
import { respond, respondError } from './response.ts';
import { resolveScope, type ScopeHints } from './scope.ts';
import type { ToolCall } from './tool-call.ts';
import type { Logger } from 'pino';

/** One tools/call as the transport delivered it. */
export interface CallRequest {
  readonly args: unknown;
  readonly principal: Principal;
  readonly hints: ScopeHints;
  readonly requestId: string;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Strings no result may show: the caller's own credentials. */
  readonly secrets: readonly string[];
  /** The chat in the application in front, where the caller's own token opens it. */
  readonly chat: ChatApi | undefined;
  /** How the client reaches the server, without a path. */
  readonly baseUrl: string;
  /** Absent when the client gave no progress token. */
  readonly onProgress?: (progress: number, message: string) => void;
}

/** Checks the arguments, runs the tool, and turns whatever happens into a result. Never rejects. */
export async function runTool(tool: Tool, request: CallRequest, ctx: McpContext): Promise<CallToolResult> {
  const started = performance.now();
  const { result, outcome } = await attempt(tool, request, ctx);
  const took = performance.now() - started;
  ctx.metrics.toolCall(tool.name, outcome, took / 1000);
  request.log.debug({ tool: tool.name, outcome, ms: Math.round(took) }, 'tool call');
  return result;
}

async function attempt(tool: Tool, request: CallRequest, ctx: McpContext) {
  try {
    if (ctx.draining()) throw new AppError('draining', 'The server is shutting down; call again in a moment.');
    if (request.principal.refusal !== undefined) throw new AppError('unauthorized', request.principal.refusal);
    if (!mayCall(request.principal, tool.listed)) throw mayOnlyLook(tool.name);
    await using held = new AsyncDisposableStack();
    const args = tool.parse(request.args);
    const leases: Lease[] = [];
    const call = toolCall(request, args, ctx, held, leases);
    const { requestId, principal, secrets } = request;
    const name = { requestId, principal, secrets, tool: tool.name };
    const result = await withCallContext(name, () => tool.handle(args, call));
    const { reason } = request.signal;
    if (reason instanceof AppError && !isDraining(reason)) throw reason;
    // A caller who has gone reads nothing: the next one is told.
    const lost = request.signal.aborted && !isDraining(reason) ? [] : leases.flatMap((lease) => lease.lost);
    const notes = [...(result.notes ?? []), ...scopeNotes(call.key, leases, ctx)];
    return { result: respond({ ...result, notes }, lost, request.secrets), outcome: result.outcome ?? 'ok' };
  } catch (thrown) {
    const error = request.signal.reason instanceof AppError ? request.signal.reason : thrown;
    return { result: failure(error, tool, request), outcome: toAppError(error).code };
  }
}

/** Where a session keys the sandbox: what a client that opens one per call must know. */
function scopeNotes({ principal, scope }: Key, leases: readonly Lease[], { trail }: McpContext): string[] {
  const handle = leases[0]?.workspace.handle;
  if (scope.kind !== 'session' || handle === undefined) return [];
  const earlier = trail.step(principal.id, scope.id, handle);
  return earlier === undefined ? [] : [earlierSandbox(earlier)];
}

function failure(error: unknown, tool: Tool, request: CallRequest): CallToolResult {
  const known = toAppError(error);
  const level = known.code === 'internal' ? 'error' : 'debug';
  request.log[level]({ tool: tool.name, err: error }, 'tool call failed');
  return respondError(known, request.secrets);
}

function toolCall(
  request: CallRequest,
  args: Record<string, unknown>,
  ctx: McpContext,
  held: AsyncDisposableStack,
  leases: Lease[],
): ToolCall {
  const handle = typeof args['sandbox'] === 'string' ? args['sandbox'] : undefined;
  const { principal, requestId, log, signal, onProgress } = request;
  const { sandboxes, config } = ctx;
  const base = { principal, sandboxes, config, log, requestId, signal, watched: onProgress !== undefined };
  let progress = 0;
  const report = (value: number, message: string) =>
    onProgress?.((progress = Math.max(progress + 1e-6, value)), message);
  return {
    ...base,
    report,
    chat: request.chat,
    previews: ctx.previewLinks && { links: ctx.previewLinks, baseUrl: request.baseUrl },
    link: linker(ctx, request.baseUrl, request.principal.provedBy),
    get key() {
      const hints = { ...request.hints, endUser: principal.endUser };
      return { principal, scope: resolveScope(handle, hints, config.session) };
    },
    async workspace() {
      const lease = await sandboxes.acquire(this.key, { signal, onProgress: (message) => report(progress, message) });
      held.use(lease);
      leases.push(lease);
      return lease.workspace;
    },
  };
}
