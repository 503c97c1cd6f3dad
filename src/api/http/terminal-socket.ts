import type { RawData, WebSocket } from 'ws';
import { z } from 'zod';
import { AppError, toAppError } from '../../errors.ts';
import type { TerminalWatch } from '../../sandbox/ports/workspace.ts';
import { detached } from '../../lib/detached.ts';

/** Unsent bytes above which output waits for the client; a viewer so far behind gets a repaint. */
const watermark = 256 * 1024;

const status = { normal: 1000, policy: 1008, failed: 1011 } as const;
/** The longest reason a close frame takes, in bytes. */
const longestReason = 120;

const control = z.strictObject({
  type: z.literal('resize'),
  cols: z.int().min(1).max(1000),
  rows: z.int().min(1).max(500),
});

export interface SocketOptions {
  /** Milliseconds between pings. */
  readonly heartbeat: number;
  /** Asked at every message and heartbeat; false closes the connection. */
  readonly isGood: () => boolean;
  /** The client prints every text frame: none is sent, and of those that come only sizes mean something. */
  readonly plain?: boolean;
}

/**
 * Joins a terminal and a WebSocket. Binary frames are raw bytes both ways; text frames are JSON: `info` first, `exit` last
 * from here, `resize` from the client.
 */
export function attachSocket(socket: WebSocket, watch: TerminalWatch, options: SocketOptions): void {
  const { heartbeat, isGood, plain = false } = options;
  const needGood = () => {
    if (!isGood()) throw new AppError('unauthorized', 'The key is no longer valid.');
  };
  if (!plain) socket.send(JSON.stringify({ type: 'info', ...watch.info }));
  takeInput(socket, watch, needGood, plain);
  keepAlive(socket, heartbeat, needGood);
  detached(showOutput(socket, watch, plain));
}

/** One message at a time: the client's TCP window fills while the terminal takes no input. */
function takeInput(socket: WebSocket, watch: TerminalWatch, needGood: () => void, plain: boolean): void {
  const obeyed = plain ? resizeOnly : obey;
  let last = Promise.resolve();
  socket.on('message', (data: RawData, isBinary: boolean) => {
    socket.pause();
    last = last
      .then(needGood)
      .then(() => (isBinary ? watch.write(bytesOf(data)) : obeyed(watch, String(data))))
      .catch((error: unknown) => close(socket, status.policy, error))
      // Also behind a close: a paused socket would not see the other side's.
      .then(() => socket.resume());
  });
}

async function obey(watch: TerminalWatch, text: string): Promise<void> {
  const message = control.safeParse(parseJson(text));
  if (!message.success) throw new TypeError('A text frame must be {"type":"resize","cols":1…1000,"rows":1…500}.');
  await watch.resize(message.data.cols, message.data.rows);
}

async function resizeOnly(watch: TerminalWatch, text: string): Promise<void> {
  const message = control.safeParse(parseJson(text));
  if (message.success) await watch.resize(message.data.cols, message.data.rows);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function showOutput(socket: WebSocket, watch: TerminalWatch, plain: boolean): Promise<void> {
  try {
    for await (const bytes of watch.output) {
      if (socket.readyState !== socket.OPEN) return;
      await send(socket, bytes);
    }
    const exitCode = await watch.exited;
    if (!plain) socket.send(JSON.stringify({ type: 'exit', exitCode }));
    socket.close(status.normal);
  } catch (error) {
    close(socket, status.failed, error);
  }
}

/** Resolves at once while little is under way, else when these bytes have gone out. */
async function send(socket: WebSocket, bytes: Uint8Array): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.send(bytes, () => resolve());
  if (socket.bufferedAmount > watermark) await promise;
}

/** Ends a connection whose other side has gone without a word. */
function keepAlive(socket: WebSocket, heartbeat: number, needGood: () => void): void {
  let heard = true;
  const alive = () => (heard = true);
  socket.on('pong', alive);
  socket.on('message', alive);
  const timer = setInterval(() => {
    if (!heard) return socket.terminate();
    heard = false;
    try {
      needGood();
    } catch (error) {
      return close(socket, status.policy, error);
    }
    socket.ping();
  }, heartbeat).unref();
  socket.once('close', () => clearInterval(timer));
}

/** Closes with a sentence as the reason. */
export function close(socket: WebSocket, code: number, error: unknown): void {
  const message = error instanceof TypeError ? error.message : toAppError(error).message;
  socket.close(
    code,
    Buffer.from(message)
      .subarray(0, longestReason)
      .toString('utf8')
      .replace(/\ufffd+$/, ''),
  );
}

function bytesOf(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}
