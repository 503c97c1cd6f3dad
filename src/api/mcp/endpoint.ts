import {
  createMcpHandler,
  isInitializeRequest,
  isJsonContentType,
  isLegacyRequest,
} from '@modelcontextprotocol/server';
import type { McpHttpHandler } from '@modelcontextprotocol/server';
import { AppError } from '../../errors.ts';
import { negotiated } from './accept.ts';
import { Activity } from './activity.ts';
import { orStream } from './late-stream.ts';
import type { McpContext } from './context.ts';
import { initializeRefusal } from './initialize-refusal.ts';
import { rpcErrorResponse } from './rpc-error.ts';
import { argumentsRefusal } from './sent-arguments.ts';
import { repaired } from './sent-message.ts';
import { authInfoOf, createMcpServer, type Caller } from './server.ts';
import { Sessions } from './sessions.ts';

/** The first revision of the newer era; revisions are dates. */
const firstModern = '2026-07-28';

/** `/mcp` for both eras, on web-standard requests. */
export class McpEndpoint implements AsyncDisposable {
  readonly activity = new Activity();
  readonly sessions: Sessions;
  readonly #modern: McpHttpHandler;
  readonly #keepaliveMs: number;

  constructor(ctx: McpContext) {
    this.#keepaliveMs = ctx.config.server.keepalive * 1000;
    this.sessions = new Sessions(ctx, this.activity);
    this.#modern = createMcpHandler(() => createMcpServer(ctx, this.activity), {
      legacy: 'reject',
      keepAliveMs: this.#keepaliveMs,
      onerror: (error) => ctx.log.debug({ err: error }, 'mcp request'),
    });
  }

  /** `body` is the parsed JSON of a POST, `undefined` when it is none. */
  async handle(sent: Request, caller: Caller, body: unknown): Promise<Response> {
    const wrongMethod = methodRefusal(sent);
    if (wrongMethod) return wrongMethod;
    const { request, shaped } = negotiated(sent);
    return shaped(await this.#answer(request, caller, repaired(body)));
  }

  async #answer(request: Request, caller: Caller, body: unknown): Promise<Response> {
    if (request.method === 'POST' && !isJsonContentType(request.headers.get('content-type')))
      return rpcErrorResponse(415, -32000, 'The Content-Type of a POST must be application/json.');
    if (request.method === 'POST' && body === undefined)
      return rpcErrorResponse(400, -32700, 'Parse error: the body is not valid JSON.');
    if (await isLegacyRequest(request, body)) return this.#legacy(request, caller, body);
    const refusal = argumentsRefusal(body);
    if (refusal) return refusal;
    const answer = this.#modern.fetch(request, { authInfo: authInfoOf(caller), parsedBody: body });
    return orStream(answer, this.#keepaliveMs);
  }

  async #legacy(request: Request, caller: Caller, body: unknown): Promise<Response> {
    const refusal = initializeRefusal(body);
    if (refusal) return refusal;
    if (isInitializeRequest(body)) return this.sessions.initialize(request, caller, body);
    const id = request.headers.get('mcp-session-id');
    if (!id)
      return rpcErrorResponse(
        400,
        -32000,
        'Bad Request: the Mcp-Session-Id header is required; send initialize first.',
      );
    const session = await this.sessions.find(id, caller);
    if (!session) return rpcErrorResponse(404, -32001, 'Session not found');
    return argumentsRefusal(body) ?? session.handle(request, caller, body);
  }

  /** Waits for the calls in flight, at most `milliseconds`; the rest end with the error `draining`. */
  async drain(milliseconds: number): Promise<void> {
    const { promise: deadline, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, milliseconds);
    await Promise.race([this.activity.idle(), deadline]);
    clearTimeout(timer);
    this.activity.abort(new AppError('draining', 'The server is shutting down and gave this call up; call again.'));
    await Promise.race([this.activity.idle(), new Promise((done) => setTimeout(done, 1000).unref())]);
    // A call counts until its result is there; the transport sends it in the turns after.
    await new Promise((done) => setTimeout(done, 10));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#modern.close(), this.sessions[Symbol.asyncDispose]()]);
  }
}

/** The newer era has neither a stream to GET nor a session to DELETE. */
function methodRefusal({ method, headers }: Request): Response | undefined {
  const version = headers.get('mcp-protocol-version') ?? '';
  const isModern = /^\d{4}-\d\d-\d\d$/.test(version) && version >= firstModern;
  const allowed = isModern ? ['POST'] : ['GET', 'POST', 'DELETE'];
  if (allowed.includes(method)) return undefined;
  const allow = allowed.join(', ');
  const where = isModern ? `/mcp in ${firstModern}` : '/mcp';
  const response = rpcErrorResponse(405, -32000, `${method} is not a method of ${where}; it takes ${allow}.`);
  response.headers.set('allow', allow);
  return response;
}
