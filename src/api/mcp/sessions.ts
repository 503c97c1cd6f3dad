import { randomUUID } from 'node:crypto';
import type { Principal } from '../../identity/key.ts';
import type { McpContext } from './context.ts';
import { authInfoOf, createMcpServer, type Caller } from './server.ts';
import { Activity } from './activity.ts';
import { SessionTransport } from './session-transport.ts';
import { detached } from '../../lib/detached.ts';

/** An MCP session of the 2025 era: one transport, one protocol server, one principal. */
export interface Session {
  readonly id: string;
  readonly principal: Principal;
  readonly activity: Activity;
  handle(request: Request, caller: Caller, parsedBody?: unknown): Promise<Response>;
  close(): Promise<void>;
}

/** What outlives the server: a client goes on with its session after a restart, unaware of it. */
export interface SessionStore {
  save(session: { id: string; principal: string; initialize: string }): void;
  /** The `initialize` message with which that principal opened the session. */
  load(id: string, principal: string): string | undefined;
  touch(id: string): void;
  drop(id: string): void;
  /** Drops what nobody has used for so many milliseconds. */
  dropUnused(milliseconds: number): void;
}

/** Bytes of an `initialize` message that is worth keeping. */
const longestInitialize = 64 * 1024;
/** Milliseconds between two notes that a session is in use. */
const touchInterval = 60_000;

/** The sessions of this server. Their end detaches from a sandbox; it never waits for one. */
export class Sessions implements AsyncDisposable {
  readonly #ctx: McpContext;
  readonly #open = new Map<string, Session>();
  readonly #sweeper: NodeJS.Timeout;
  readonly #all: Activity;
  readonly #restoring = new Map<string, Promise<Session | undefined>>();
  #leaving = false;

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

  /**
   * The session of that id if it is this principal's: a foreign one is as unknown as a wrong one. One that an earlier
   * server had is opened again, by the words with which its client opened it.
   */
  async find(id: string, caller: Caller): Promise<Session | undefined> {
    const session = this.#open.get(id) ?? (await this.#restored(id, caller));
    return session?.principal.id === caller.principal.id ? session : undefined;
  }

  /** Answers an `initialize`; the session exists once the transport has accepted it. */
  async initialize(request: Request, caller: Caller, parsedBody: unknown): Promise<Response> {
    this.#makeRoom();
    const session = await this.#create(randomUUID(), caller.principal);
    const response = await session.handle(request, caller, parsedBody);
    if (this.#open.has(session.id)) this.#save(session, JSON.stringify(parsedBody));
    else await session.close();
    return response;
  }

  #save({ id, principal }: Session, initialize: string): void {
    if (initialize.length > longestInitialize) return;
    this.#ctx.sessionStore?.save({ id, principal: principal.id, initialize });
  }

  #restored(id: string, caller: Caller): Promise<Session | undefined> {
    const initialize = this.#ctx.sessionStore?.load(id, caller.principal.id);
    if (initialize === undefined) return Promise.resolve(undefined);
    const known = this.#restoring.get(id);
    if (known) return known;
    const restoring = this.#restore(id, caller, initialize).finally(() => this.#restoring.delete(id));
    this.#restoring.set(id, restoring);
    return restoring;
  }

  async #restore(id: string, caller: Caller, initialize: string): Promise<Session | undefined> {
    this.#makeRoom();
    const session = await this.#create(id, caller.principal);
    for (const message of [
      JSON.parse(initialize) as unknown,
      { jsonrpc: '2.0', method: 'notifications/initialized' },
    ]) {
      const response = await session.handle(replayOf(id), caller, message);
      await response.body?.cancel();
    }
    return this.#open.get(id);
  }

  async #create(id: string, principal: Principal): Promise<Session> {
    const { keepalive, body_limit } = this.#ctx.config.server;
    const activity = new Activity(this.#all);
    const transport = new SessionTransport({
      sessionIdGenerator: () => id,
      keepAliveMs: keepalive * 1000,
      maxRequestBodySize: body_limit,
      onsessioninitialized: () => void this.#open.set(id, session),
    });
    const server = createMcpServer(this.#ctx, activity);
    const noteUse = this.#noteUse(id);
    const session: Session = {
      id,
      principal,
      activity,
      handle(request, caller, parsedBody) {
        activity.touch();
        noteUse();
        return transport.handleRequest(request, { authInfo: authInfoOf(caller), parsedBody });
      },
      close: () => server.close(),
    };
    server.server.onclose = () => this.#closed(session);
    server.server.onerror = (error) => this.#ctx.log.debug({ session: id, err: error }, 'mcp session');
    await server.connect(transport);
    return session;
  }

  #noteUse(id: string): () => void {
    let noted = performance.now();
    return () => {
      if (performance.now() - noted < touchInterval) return;
      noted = performance.now();
      this.#ctx.sessionStore?.touch(id);
    };
  }

  /** Closing the transport aborts the session's calls; the sandbox stays unless it was the session's own. */
  #closed(session: Session): void {
    if (!this.#open.delete(session.id) || this.#leaving) return;
    this.#ctx.sessionStore?.drop(session.id);
    const key = { principal: session.principal, scope: { kind: 'session', id: session.id } } as const;
    session.activity
      .idle()
      .then(() => this.#ctx.sandboxes.detach(key))
      .catch((error: unknown) => this.#ctx.log.warn({ session: session.id, err: error }, 'detaching a session failed'));
  }

  #sweep(): void {
    const limit = this.#ctx.config.session.ttl * 1000;
    for (const session of this.#open.values()) if (session.activity.idleFor() > limit) detached(session.close());
    this.#ctx.sessionStore?.dropUnused(limit + touchInterval);
  }

  /** When full, the longest idle session of whoever holds the most goes: clients leak sessions, and only theirs pay for it. */
  #makeRoom(): void {
    if (this.#open.size < this.#ctx.config.session.max_mcp_sessions) return;
    const byOwner = Map.groupBy(this.#open.values(), (session) => session.principal.id);
    const [most] = [...byOwner.values()].sort((a, b) => b.length - a.length);
    const [idlest] = (most ?? []).sort((a, b) => b.activity.idleFor() - a.activity.idleFor());
    detached(idlest?.close());
  }

  /** The server's end is no session's end: what is stored stays, and no sandbox is let go. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#leaving = true;
    clearInterval(this.#sweeper);
    await Promise.all([...this.#open.values()].map((session) => session.close()));
  }
}

/** A request for the transport alone: what it answers goes nowhere. */
function replayOf(id: string): Request {
  return new Request('http://localhost/mcp', {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-session-id': id,
    },
  });
}
