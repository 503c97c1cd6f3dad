import { upgradeWebSocket } from '@hono/node-server';
import { Hono, type Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import { WebSocketServer, type WebSocket } from 'ws';
import { AppError } from '../../errors.ts';
import type { Sandboxes } from '../../sandbox/sandboxes.ts';
import type { HttpEnv } from './env.ts';
import { onlyMethods } from './methods.ts';
import { attachSocket } from './terminal-socket.ts';
import { detached } from '../../lib/detached.ts';

const route = '/sandboxes/:id/terminals/:terminal';
const subprotocol = 'berth';
/** Bytes of one message; longer input comes in several. */
const longestMessage = 1024 * 1024;

export interface TerminalContext {
  readonly sandboxes: Sandboxes;
  /** Milliseconds between pings; a client silent for two of them is gone. */
  readonly heartbeat?: number;
}

/** `WS /sandboxes/{id}/terminals/{id}`: a live terminal. What does not exist is answered before the upgrade. */
export function terminalRoutes(ctx: TerminalContext): Hono<HttpEnv> {
  return new Hono<HttpEnv>()
    .get(
      route,
      needUpgrade(),
      upgradeWebSocket(async (c: Context<HttpEnv>) => {
        const attach = await prepare(ctx, c);
        return { onOpen: (_event, { raw }) => attach(raw as unknown as WebSocket) };
      }),
    )
    .all(route, onlyMethods('GET'));
}

/** The server side of the sockets: upgrades that the routes have let through. */
export function socketServer(): WebSocketServer {
  return new WebSocketServer({
    noServer: true,
    maxPayload: longestMessage,
    handleProtocols: (offered) => (offered.has(subprotocol) ? subprotocol : false),
  });
}

/**
 * A browser can set no header on a WebSocket: its token comes as a second subprotocol, `berth, bearer.<token>`. Belongs
 * before authentication.
 */
export function bearerFromProtocol() {
  return createMiddleware<HttpEnv>(async (c, next) => {
    const offered = c.req.header('upgrade') && c.req.header('sec-websocket-protocol');
    const token = /(?:^|,)\s*bearer\.([^\s,]+)/.exec(offered || '')?.[1];
    if (token !== undefined && !c.req.header('authorization'))
      c.req.raw.headers.set('authorization', `Bearer ${token}`);
    await next();
  });
}

function needUpgrade() {
  return createMiddleware<HttpEnv>(async (c, next) => {
    if (c.req.header('upgrade')?.toLowerCase() === 'websocket') return await next();
    const message = 'A terminal is a WebSocket; for single reads and writes there are the tools.';
    const headers = { upgrade: 'websocket' };
    return Response.json({ error: { code: 'invalid_argument', message } }, { status: 426, headers });
  });
}

/** Takes what a viewer needs. It is let go when the connection closes, whether the upgrade succeeds or not. */
async function prepare(ctx: TerminalContext, c: Context<HttpEnv>): Promise<(socket: WebSocket) => void> {
  const connection = c.env.incoming?.socket;
  if (connection === undefined) throw new AppError('unsupported', 'Terminals need a real connection.');
  const gone = new AbortController();
  await using held = new AsyncDisposableStack();
  const key = { principal: c.get('principal'), scope: { kind: 'handle', id: c.req.param('id') ?? '' } } as const;
  connection.once('close', () => gone.abort());
  const lease = held.use(await ctx.sandboxes.acquire(key, { signal: gone.signal }));
  const watch = await lease.workspace.terminals.watch(c.req.param('terminal') ?? '', gone.signal);
  const kept = held.move();
  const release = () =>
    detached(kept.disposeAsync().catch((error: unknown) => c.get('log').warn({ err: error }, 'release')));
  if (connection.destroyed) release();
  else connection.once('close', release);
  return (socket) => attachSocket(socket, watch, { heartbeat: ctx.heartbeat ?? 30_000, isGood: c.get('isGood') });
}
