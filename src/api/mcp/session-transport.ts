import {
  isJSONRPCErrorResponse,
  isJSONRPCRequest,
  isJSONRPCResultResponse,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server';
import type { HandleRequestOptions, JSONRPCMessage, RequestId } from '@modelcontextprotocol/server';
import { rpcErrorResponse } from './rpc-error.ts';

/** The requests of one POST, which share its stream. */
interface Post {
  /** Neither answered nor cancelled. */
  readonly open: Set<RequestId>;
  readonly cancelled: Set<RequestId>;
}

/**
 * The SDK's transport of one session, which takes answers by the ids that the client chose: it hands a second request of
 * the same id the first one's answer, and holds the stream of a cancelled one, which gets none, for ever. This refuses the
 * second and ends that stream.
 */
export class SessionTransport extends WebStandardStreamableHTTPServerTransport {
  readonly #posts = new Map<RequestId, Post>();

  override async handleRequest(request: Request, options?: HandleRequestOptions): Promise<Response> {
    const messages: unknown[] = request.method === 'POST' ? [options?.parsedBody].flat() : [];
    const ids = messages.filter((message) => isJSONRPCRequest(message)).map(({ id }) => id);
    const taken = ids.find((id, at) => this.#posts.has(id) || ids.indexOf(id) < at);
    if (taken !== undefined) return inFlight(taken);
    const post: Post = { open: new Set(ids), cancelled: new Set() };
    for (const id of ids) this.#posts.set(id, post);
    const response = await super.handleRequest(request, options);
    if (!response.ok) for (const id of ids) this.#posts.delete(id);
    else for (const message of messages) await this.#cancel(cancelledBy(message));
    return response;
  }

  override async send(message: JSONRPCMessage, options?: { relatedRequestId?: RequestId }): Promise<void> {
    const answer = isJSONRPCResultResponse(message) || isJSONRPCErrorResponse(message);
    try {
      await super.send(message, options);
    } finally {
      // Also where nobody is there to take it: the id is free again.
      if (answer) await this.#answered(message.id);
    }
  }

  async #answered(id: RequestId | undefined): Promise<void> {
    const post = id === undefined ? undefined : this.#posts.get(id);
    if (post === undefined || id === undefined) return;
    this.#posts.delete(id);
    post.open.delete(id);
    await this.#endWhenDone(post);
  }

  async #cancel(id: RequestId | undefined): Promise<void> {
    const post = id === undefined ? undefined : this.#posts.get(id);
    if (post === undefined || id === undefined || !post.open.delete(id)) return;
    post.cancelled.add(id);
    await this.#endWhenDone(post);
  }

  /** What is sent behind the stream's end reaches nobody: it lets the SDK forget the request. */
  async #endWhenDone({ open, cancelled }: Post): Promise<void> {
    if (open.size > 0) return;
    for (const id of cancelled) {
      this.#posts.delete(id);
      this.closeSSEStream(id);
      await super.send({ jsonrpc: '2.0', id, error: { code: -32000, message: 'The request was cancelled.' } });
    }
  }
}

function inFlight(id: RequestId): Response {
  const shown = JSON.stringify(id).slice(0, 64);
  return rpcErrorResponse(
    400,
    -32600,
    `A request with the id ${shown} is being answered; each needs an id of its own.`,
  );
}

/** The request that a `notifications/cancelled` names. */
function cancelledBy(message: unknown): RequestId | undefined {
  const { method, params } = (message ?? {}) as { method?: unknown; params?: { requestId?: RequestId } };
  return method === 'notifications/cancelled' ? params?.requestId : undefined;
}
