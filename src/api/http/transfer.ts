import type { Context } from 'hono';
import type { Key } from '../../identity/key.ts';
import type { Lease, Sandboxes } from '../../sandbox/sandboxes.ts';
import { holding, streamOf } from './body-stream.ts';
import type { HttpEnv } from './env.ts';
import { queueOf } from './vanished.ts';
import { Watchdog } from './watchdog.ts';

/** Milliseconds a transfer may stand still. */
const usualPatience = 120_000;

/** What a request holds while it moves bytes. */
export interface Transfer {
  readonly lease: Lease;
  /** Aborts when the client has gone or nothing moves. */
  readonly signal: AbortSignal;
  /** Hands what is held over to an answer's body, which lets go at its end. */
  readonly body: (stream: ReadableStream<Uint8Array>) => ReadableStream<Uint8Array<ArrayBuffer>>;
  /** The bytes that the client sends, or what is made of them. */
  readonly received: (
    of?: (bytes: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>,
  ) => ReadableStream<Uint8Array>;
  readonly held: AsyncDisposableStack;
}

export interface TransferContext {
  readonly sandboxes: Sandboxes;
  /** What the sandbox is made from where there is none. */
  readonly template?: string | undefined;
  /** Milliseconds a transfer may stand still; default two minutes. */
  readonly patience?: number;
}

/** Moves bytes between a client and a sandbox. A route that takes bytes is wrapped in `answerInFull`. */
export async function transfer(
  ctx: TransferContext,
  c: Context<HttpEnv>,
  key: Key,
  handle: (transfer: Transfer) => Promise<Response>,
): Promise<Response> {
  const { template } = ctx;
  await using held = new AsyncDisposableStack();
  const watchdog = held.use(new Watchdog(ctx.patience ?? usualPatience, () => takenBy(c)));
  const signal = AbortSignal.any([c.req.raw.signal, watchdog.signal]);
  const lease = held.use(await ctx.sandboxes.acquire(key, { signal, ...(template !== undefined && { template }) }));
  const onChunk = () => watchdog.touch();
  const body = (stream: ReadableStream<Uint8Array>) => {
    const kept = held.move();
    const release = () => kept.disposeAsync();
    const breakOff = (error: unknown) => {
      c.get('log').info({ err: error, path: c.get('line')?.['path'] ?? c.req.path }, 'download broke off');
      c.env.outgoing?.destroy();
    };
    return holding(stream, { onChunk, signal, breakOff, release }) as ReadableStream<Uint8Array<ArrayBuffer>>;
  };
  return await handle({
    lease,
    signal,
    body,
    received: (of = (bytes) => bytes) => streamOf(of(bodyOf(c)), onChunk),
    held,
  });
}

/** Changes as the client takes bytes: the kernel holds megabytes for it, in which a slow one is busy for minutes. */
async function takenBy(c: Context<HttpEnv>): Promise<string | undefined> {
  const socket = c.env.outgoing?.socket;
  if (!socket) return undefined;
  const queue = await queueOf(socket);
  return queue === undefined ? undefined : `${socket.bytesWritten} ${queue}`;
}

/** The request's bytes; from the connection itself where there is one, since a web stream over it copies every chunk. */
function bodyOf(c: Context<HttpEnv>): AsyncIterable<Uint8Array> {
  return c.env.incoming?.iterator({ destroyOnReturn: false }) ?? c.req.raw.body ?? new Blob([]).stream();
}
