import { randomUUID } from 'node:crypto';
import { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/server';
import type { Principal } from '../sandbox/key.ts';
import type { McpContext } from './context.ts';
import { authInfoOf, createMcpServer, type Caller } from './server.ts';
import { Activity } from './activity.ts';

/** An MCP session of the 2025 era: one transport, one protocol server, one principal. */
export interface Session {
  readonly id: string;
  readonly principal: Principal;
  readonly activity: Activity;
  handle(request: Request, caller: Caller, parsedBody?: unknown): Promise<Response>;
  close(): Promise<void>;
}

/** The sessions of this server. Their end detaches from a sandbox; it never waits for one. */
export class Sessions implements AsyncDisposable {
  readonly #ctx: McpContext;
  readonly #open = new Map<string, Session>();
  readonly #sweeper: NodeJS.Timeout;
  readonly #all: Activity;

  /** `all` sees the calls of every session. */
  constructor(ctx: McpContext, all: Activity) {
    this.#ctx = ctx;
    this.#all = all;
    const interval = Math.min(ctx.config.session.cleanup_interval, ctx.config.session.ttl) * 1000;
    this.#sweeper = setInterval(() => this.#sweep(), Math.max(interval, 100)).unref();
  }

  get size(): number {
    return this.#open.size;
  }

  /** The session of that id if it is this principal's: a foreign one is as unknown as a wrong one. */
  find(id: string, principal: Principal): Session | undefined {
    const session = this.#open.get(id);
    return session?.principal.id === principal.id ? session : undefined;
  }

  /** Answers an `initialize`; the session exists once the transport has accepted it. */
  async initialize(request: Request, caller: Caller, parsedBody: unknown): Promise<Response> {
    this.#makeRoom();
    const session = await this.#create(caller.principal);
    const response = await session.handle(request, caller, parsedBody);
    if (!this.#open.has(session.id)) await session.close();
    return response;
  }

  async #create(principal: Principal): Promise<Session> {
    const { keepalive, body_limit } = this.#ctx.config.server;
    const id = randomUUID();
    const activity = new Activity(this.#all);
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => id,
      keepAliveMs: keepalive * 1000,
      maxRequestBodySize: body_limit,
      onsessioninitialized: () => void this.#open.set(id, session),
    });
    const server = createMcpServer(this.#ctx, activity);
    const session: Session = {
      id,
      principal,
      activity,
      handle(request, caller, parsedBody) {
        activity.touch();
        return transport.handleRequest(request, { authInfo: authInfoOf(caller), parsedBody });
      },
      close: () => server.close(),
    };
    server.server.onclose = () => this.#closed(session);
    server.server.onerror = (error) => this.#ctx.log.debug({ session: id, err: error }, 'mcp session');
    await server.connect(transport);
    return session;
  }

  /** Closing the transport aborts the session's calls; the sandbox stays unless it was the session's own. */
  #closed(session: Session): void {
    if (!this.#open.delete(session.id)) return;
    const key = { principal: session.principal, scope: { kind: 'session', id: session.id } } as const;
    session.activity
      .idle()
      .then(() => this.#ctx.sandboxes.detach(key))
      .catch((error: unknown) => this.#ctx.log.warn({ session: session.id, err: error }, 'detaching a session failed'));
  }

  #sweep(): void {
    const limit = this.#ctx.config.session.ttl * 1000;
    for (const session of this.#open.values()) if (session.activity.idleFor() > limit) void session.close();
  }

  /** When full, the longest idle session of whoever holds the most goes: clients leak sessions, and only theirs pay for it. */
  #makeRoom(): void {
    if (this.#open.size < this.#ctx.config.session.max_mcp_sessions) return;
    const byOwner = Map.groupBy(this.#open.values(), (session) => session.principal.id);
    const [most] = [...byOwner.values()].sort((a, b) => b.length - a.length);
    const [idlest] = (most ?? []).sort((a, b) => b.activity.idleFor() - a.activity.idleFor());
    void idlest?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sweeper);
    await Promise.all([...this.#open.values()].map((session) => session.close()));
  }
}
