import { detached } from '../../lib/detached.ts';
import { upgradeWebSocket } from '@hono/node-server';
import { Hono, type Context } from 'hono';
import type { RawData, WebSocket } from 'ws';
import { z } from 'zod';
import type { Config } from '../../config.ts';
import { AppError, toAppError } from '../../errors.ts';
import { attachSocket, close } from '../http/terminal-socket.ts';
import type { Key } from '../../identity/key.ts';
import type { Sandboxes } from '../../sandbox/sandboxes.ts';
import type { PaneEnv } from './env.ts';
import type { IdentifyPane } from './identity.ts';
import { paneScope } from './scope.ts';

export interface SocketContext {
  readonly sandboxes: Sandboxes;
  readonly config: Config;
  readonly identify: IdentifyPane;
  /** Milliseconds that a socket has for its first frame. */
  readonly patience?: number;
}

/** Sockets that have not proved yet who they are. */
const mostPending = 64;
/** What Open WebUI's own terminal server closes with. */
const codes = { unauthorized: 4001, unknown: 4004, other: 4000, tooMany: 4029 };
const authFrame = z.object({ type: z.literal('auth'), token: z.string().max(16_384) });

/** `WS /api/terminals/{id}`: Open WebUI sends no `Authorization`; the first frame proves who it is. */
export function socketRoute(ctx: SocketContext): Hono<PaneEnv> {
  let pending = 0;
  const accept = (c: Context<PaneEnv>) => ({
    onOpen: (_event: unknown, { raw }: { raw?: unknown }) => {
      const socket = raw as WebSocket;
      socket.on('error', () => {});
      if (pending >= mostPending)
        return socket.close(codes.tooMany, 'Too many connections wait for their first frame.');
      pending += 1;
      const proven = firstFrame(socket, ctx.patience ?? 10_000).finally(() => (pending -= 1));
      detached(begin(ctx, c, socket, proven));
    },
  });
  return new Hono<PaneEnv>().get('/api/terminals/:id', async (c, next) => {
    if (c.req.header('upgrade')?.toLowerCase() !== 'websocket') return await next();
    return await upgradeWebSocket(accept as never)(c as never, next);
  });
}

/** Never rejects. */
async function begin(
  ctx: SocketContext,
  c: Context<PaneEnv>,
  socket: WebSocket,
  token: Promise<string>,
): Promise<void> {
  try {
    await attach(ctx, c, socket, await token);
  } catch (error) {
    refuse(socket, error);
  }
}

function refuse(socket: WebSocket, error: unknown): void {
  const { code } = toAppError(error);
  // A paused socket would not see the other side's close.
  socket.resume();
  const isForeign = code === 'unauthorized' || code === 'forbidden' || code === 'timeout';
  close(socket, isForeign ? codes.unauthorized : code === 'not_found' ? codes.unknown : codes.other, error);
}

/** The token of the first frame. Rejects `unauthorized` for another frame, and when none comes. */
async function firstFrame(socket: WebSocket, patience: number): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const late = () => reject(new AppError('timeout', `No frame of type auth came within ${patience / 1000} s.`));
  const timer = setTimeout(late, patience).unref();
  const gone = () => reject(new AppError('cancelled', 'The client has gone.'));
  const take = (data: RawData, isBinary: boolean) => {
    // What the client types meanwhile waits.
    socket.pause();
    const frame = authFrame.safeParse(isBinary ? undefined : parsed(String(data)));
    if (frame.success) resolve(frame.data.token);
    else reject(new AppError('unauthorized', 'The first frame must be {"type":"auth","token":"…"}.'));
  };
  socket.once('message', take).once('close', gone);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    socket.off('message', take).off('close', gone);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function attach(ctx: SocketContext, c: Context<PaneEnv>, socket: WebSocket, token: string): Promise<void> {
  const header = (name: string) => (name === 'authorization' ? token && `Bearer ${token}` : c.req.header(name));
  const { principal, isGood = () => true } = await ctx.identify((name) => header(name.toLowerCase()));
  if (principal.scopes && !principal.scopes.includes('tools'))
    throw new AppError('forbidden', 'This needs a key with the scope tools.');
  const key: Key = { principal, scope: paneScope(c.req.header('x-terminal-context-id'), ctx.config.session) };
  const gone = new AbortController();
  socket.once('close', () => gone.abort());
  const id = c.req.param('id') ?? '';
  const open = await ctx.sandboxes.glance(key)?.terminals.list();
  if (!open?.some(({ sessionId, exited }) => sessionId === id && !exited))
    throw new AppError('not_found', 'There is no such terminal.');
  const lease = await ctx.sandboxes.acquire(key, { signal: gone.signal });
  const release = async (): Promise<void> => {
    try {
      await lease[Symbol.asyncDispose]();
    } catch (err) {
      c.get('log').warn({ err }, 'release');
    }
  };
  try {
    const watch = await lease.workspace.terminals.watch(id, gone.signal);
    attachSocket(socket, watch, { heartbeat: 30_000, isGood, plain: true });
  } catch (error) {
    await release();
    throw error;
  }
  socket.resume();
  if (gone.signal.aborted) await release();
  else socket.once('close', () => detached(release()));
}
