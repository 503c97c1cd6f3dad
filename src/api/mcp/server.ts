import {
  McpServer,
  ProtocolError,
  ProtocolErrorCode,
  type CallToolResult,
  type InputRequiredResult,
  type ServerContext,
} from '@modelcontextprotocol/server';
import type { Logger } from 'pino';
import type { AppError } from '../../errors.ts';
import type { Principal } from '../../identity/key.ts';
import { chatOf } from './chat-api.ts';
import { ChatStatus } from './chat-status.ts';
import type { McpContext } from './context.ts';
import { Heartbeat, type SendProgress } from './heartbeat.ts';
import { isOpenWebUi } from './open-webui.ts';
import { respondError } from './response.ts';
import { mayCall, type Hinted } from './rights.ts';
import { runTool } from './run-tool.ts';
import { shownTo, type ClientProgram } from './shown-to.ts';
import { oneLine } from '../../lib/text.ts';
import { detached } from '../../lib/detached.ts';

/** What the HTTP layer knows of a request; it rides on the transport's auth information. */
export interface Caller {
  readonly principal: Principal;
  readonly requestId: string;
  readonly log: Logger;
  readonly secrets: readonly string[];
  /** How this client reaches the server, without a path. */
  readonly baseUrl: string;
  /** The user's own token of the application in front. */
  readonly userToken: string | undefined;
  /** What a tools/call is answered with in any case. */
  readonly refusal?: AppError;
}

/** Counts calls, so that nothing idles out or drains away under one. */
export interface CallTracker {
  /** Call the returned function when the call has ended. */
  begin(): () => void;
  /** Aborts calls when the server gives them up. */
  readonly signal: AbortSignal;
}

const instructions =
  'Each caller has a private Linux sandbox with a persistent shell: execute_command runs a command in it, upload_file and download_file move files, start_shell_session opens an interactive terminal.';

/** A protocol server for one session (2025 era) or one request (2026 era); instances are never shared. */
export function createMcpServer(ctx: McpContext, tracker: CallTracker): McpServer {
  const info = { name: 'berth', title: 'Berth', version: ctx.version };
  const mcp = new McpServer(info, { capabilities: {}, instructions, ...ctx.extra?.options });
  const tools = [...ctx.tools.listed, ...(ctx.extra?.tools ?? []).map((tool) => tool.listed)];
  ctx.extra?.extend(mcp);
  mcp.server.registerCapabilities({ tools: { listChanged: false } });
  mcp.server.setRequestHandler('tools/list', (_request, call) => ({ tools: tools.filter(callableBy(call)) }));
  mcp.server.setRequestHandler('tools/call', (request, call) => callTool(ctx, tracker, mcp, request.params, call));
  return mcp;
}

async function callTool(
  ctx: McpContext,
  tracker: CallTracker,
  mcp: McpServer,
  params: { name: string; arguments?: Record<string, unknown> | undefined },
  call: ServerContext,
): Promise<CallToolResult | InputRequiredResult> {
  const raw = ctx.extra?.tools.find(({ listed }) => listed.name === params.name);
  if (raw) return raw.call(params.arguments ?? {}, call);
  const tool = ctx.tools.get(params.name);
  if (!tool)
    throw new ProtocolError(ProtocolErrorCode.InvalidParams, `There is no tool named "${oneLine(params.name, 64)}".`);
  const caller = callerOf(call);
  if (caller.refusal) return respondError(caller.refusal, caller.secrets);
  const end = tracker.begin();
  try {
    const side = transportSide(call, tracker);
    using heartbeat = heartbeatOf(call, ctx.config.mcp.heartbeat * 1000);
    const chat = chatOf(ctx.config, caller.userToken, side.hints.header);
    await using status = chat && ctx.config.open_webui.progress ? new ChatStatus(chat, caller.log) : undefined;
    const onProgress = progressOf(heartbeat, status);
    const request = { ...(onProgress && { onProgress }), ...caller, args: params.arguments, ...side, chat };
    const result = await runTool(tool, request, ctx);
    return shownTo(clientOf(mcp, call), result, ctx.config.mcp);
  } finally {
    end();
  }
}

function clientOf({ server }: McpServer, call: ServerContext): ClientProgram {
  const headers = call.http?.req?.headers;
  return {
    name: server.getClientVersion()?.name,
    openWebUi: isOpenWebUi(callerOf(call).principal, (name) => headers?.get(name)),
    modern: call.sessionId === undefined,
  };
}

function transportSide(call: ServerContext, tracker: CallTracker) {
  const { _meta: meta, signal } = call.mcpReq;
  const headers = call.http?.req?.headers;
  return {
    signal: AbortSignal.any([signal, tracker.signal]),
    hints: { header: (name: string) => headers?.get(name), meta, sessionId: call.sessionId },
  };
}

/** Where the client asked for progress. */
function heartbeatOf({ mcpReq: { _meta: meta, notify } }: ServerContext, silence: number): Heartbeat | undefined {
  const progressToken = meta?.progressToken;
  if (progressToken === undefined) return undefined;
  const send = (progress: number, message: string) => {
    const params = { progressToken, progress, message };
    detached(notify({ method: 'notifications/progress', params }).catch(() => {}));
  };
  return new Heartbeat(send, silence);
}

/** The client that asked is told; else the chat. */
function progressOf(heartbeat: Heartbeat | undefined, status: ChatStatus | undefined): SendProgress | undefined {
  if (heartbeat) return (progress, message) => heartbeat.report(progress, message);
  return status && ((_, line) => status.report(line));
}

/** Packs the caller for the SDK's pass-through of auth information. */
export function authInfoOf(caller: Caller) {
  return { token: '', clientId: caller.principal.id, scopes: [], extra: { caller } };
}

/** Which tools the caller is shown. */
function callableBy(call: ServerContext): (tool: Hinted) => boolean {
  const { principal } = callerOf(call);
  return (tool) => mayCall(principal, tool);
}

function callerOf(call: ServerContext): Caller {
  const caller = call.http?.authInfo?.extra?.['caller'];
  if (!caller) throw new Error('a tools/call reached the protocol server without a caller');
  return caller as Caller;
}
