import { Duplex } from 'node:stream';
import { maxData } from './frame.ts';
import { Inflow } from './inflow.ts';
import * as request from './request.ts';

/** Bytes that may follow a DIAL before the host says how many more there is room for. */
const firstRoom = 65_536;
const window = 262_144;

export type ClosedHow = 'ended' | 'refused' | 'reset' | 'failed';

const codes = { ended: undefined, refused: 'ECONNREFUSED', reset: 'ECONNRESET', failed: 'EHOSTUNREACH' } as const;

interface Waiting {
  readonly bytes: Uint8Array;
  readonly done: (error?: Error | null) => void;
}

export interface DialledOptions {
  readonly channel: number;
  readonly send: (...frames: Uint8Array[]) => void;
  /** Called once, when the channel's number means nothing any more. */
  readonly over: () => void;
}

/**
 * A connection to a program in a sandbox, as a socket for Node's HTTP client: that is why it is no pair of web streams.
 * Its errors have the codes of a socket's. It buffers at most a window each way.
 */
export class Dialled extends Duplex {
  readonly #options: DialledOptions;
  readonly #inflow: Inflow;
  readonly #connected = Promise.withResolvers<this>();
  #sent = 0;
  #room = firstRoom;
  #waiting: Waiting | undefined;
  #isOver = false;
  #timer: NodeJS.Timeout | undefined;
  #timeout = 0;

  constructor(options: DialledOptions) {
    super({ allowHalfOpen: true, readableHighWaterMark: maxData, writableHighWaterMark: maxData });
    this.#options = options;
    this.#inflow = new Inflow(window, (limit) => options.send(request.credit(options.channel, 0, limit)));
    this.#connected.promise.catch(() => {});
  }

  static readonly window = window;

  /** Resolves when the program has taken the connection; rejects with the error that ended it before. */
  get connected(): Promise<this> {
    return this.#connected.promise;
  }

  isConnected(): void {
    this.#connected.resolve(this);
  }

  /** Throws `FrameError` where the host sends more than it may. */
  came(offset: number, bytes: Uint8Array): void {
    this.#inflow.accept(offset, bytes.length);
    this.#alive();
    if (!this.destroyed && !this.readableEnded) this.push(Buffer.from(bytes));
  }

  ended(): void {
    if (!this.destroyed) this.push(null);
  }

  /** `room`: the offset up to which may be sent. */
  roomFor(room: number): void {
    this.#room = Math.max(this.#room, room);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting) this.#send(waiting);
  }

  closedBy(how: ClosedHow, text: string): void {
    this.#leave();
    const code = codes[how];
    if (code === undefined) return void this.end();
    this.destroy(Object.assign(new Error(text || `the connection was ${how}`), { code }));
  }

  override _read(): void {
    this.#inflow.consumed(this.#inflow.received - this.readableLength);
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: Waiting['done']): void {
    this.#alive();
    this.#send({ bytes: chunk, done });
  }

  #send({ bytes, done }: Waiting): void {
    let at = 0;
    while (at < bytes.length && this.#sent < this.#room) {
      const part = bytes.subarray(at, at + Math.min(maxData, this.#room - this.#sent));
      this.#options.send(request.sendOn(this.#options.channel, part));
      at += part.length;
      this.#sent += part.length;
    }
    if (at === bytes.length || this.#isOver) return done();
    this.#waiting = { bytes: bytes.subarray(at), done };
  }

  override _final(done: (error?: Error | null) => void): void {
    if (!this.#isOver) this.#options.send(request.finish(this.#options.channel));
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#timer);
    this.#connected.reject(error ?? new Error('the connection was given up'));
    const open = !this.#isOver;
    this.#leave();
    if (open) this.#options.send(request.cut(this.#options.channel));
    this.#waiting?.done(error);
    this.#waiting = undefined;
    done(error);
  }

  #leave(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#options.over();
  }

  /** Emits `timeout` after so many milliseconds without a byte; 0: never. As a socket's. */
  setTimeout(milliseconds: number, listener?: () => void): this {
    this.#timeout = milliseconds;
    if (listener) this.once('timeout', listener);
    this.#alive();
    return this;
  }

  #alive(): void {
    clearTimeout(this.#timer);
    if (this.#timeout === 0 || this.destroyed) return;
    this.#timer = setTimeout(() => this.emit('timeout'), this.#timeout).unref();
  }

  // What a socket has besides and HTTP calls.
  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}
