import type { ChannelState, HostFrame } from '../wire/frame.ts';
import { Inflow } from '../wire/inflow.ts';
import { ByteRing } from '../../../lib/ring.ts';
import { ScreenFeed } from './screen-feed.ts';
import { Screen, type Size } from './screen.ts';
import { TerminalInput } from './input.ts';
import type { TerminalInfo } from '../../ports/workspace.ts';

export interface TerminalOptions extends Size {
  readonly id: string;
  readonly channel: number;
  readonly command: string;
  /** ISO 8601. */
  readonly started: string;
  readonly scrollback: number;
  /** Bytes kept for the next streaming read. */
  readonly buffer: number;
  readonly send: {
    readonly input: (bytes: Uint8Array) => void;
    readonly credit: (limit: number) => void;
  };
}

/** Bytes that the host may send ahead of the screen. */
export const terminalWindow = 256 * 1024;

/** A terminal in the sandbox: its screen, the newest bytes it sent, and the way to its input. It is read whether or not anybody looks. */
export class Terminal implements Disposable {
  readonly id: string;
  readonly channel: number;
  readonly #options: TerminalOptions;
  readonly screen: Screen;
  readonly feed: ScreenFeed;
  /** The newest bytes, for reads and watchers. */
  readonly ring: ByteRing;
  readonly flow: Inflow;
  readonly input: TerminalInput;
  /** Offset up to which the screen is drawn. */
  #drawn = 0;
  /** Offset behind bytes whose questions an earlier server has answered. */
  #answered = 0;
  /** Offset behind the newest bytes that moved the cursor in a way that lines alone don't tell. */
  #movedAt = 0;
  #draws = true;
  #lastData = 0;
  #exit: { code: number; end: number } | undefined;
  readonly #exited = Promise.withResolvers<number | null>();
  #isExited = false;
  #news: PromiseWithResolvers<void> | undefined;
  watchers = 0;
  /** Why the host did not start it. */
  refusal: string | undefined;

  constructor(options: TerminalOptions) {
    this.id = options.id;
    this.channel = options.channel;
    this.#options = options;
    this.screen = new Screen({ ...options, answer: (text) => this.#answer(text) });
    this.feed = new ScreenFeed(this.screen, (to) => this.#onDrawn(to));
    this.ring = new ByteRing(options.buffer);
    this.flow = new Inflow(terminalWindow, options.send.credit);
    this.input = new TerminalInput(options.send.input);
  }

  get info(): TerminalInfo {
    const { id, command, started } = this.#options;
    return {
      sessionId: id,
      command,
      ...this.screen.size,
      started,
      exited: this.#isExited,
      exitCode: this.exitCode,
      watchers: this.watchers,
    };
  }

  get isExited(): boolean {
    return this.#isExited;
  }

  get exitCode(): number | null {
    return this.#isExited ? (this.#exit?.code ?? null) : null;
  }

  /** Resolves with the exit code when the program has ended and all it wrote is here; `null` when the sandbox is lost. */
  get exited(): Promise<number | null> {
    return this.#exited.promise;
  }

  /** Offset up to which the screen is drawn. */
  get drawn(): number {
    return this.#drawn;
  }

  get movedAt(): number {
    return this.#movedAt;
  }

  /** Milliseconds since the last output. */
  get quietFor(): number {
    return performance.now() - this.#lastData;
  }

  /** Resolves at the next output or at the end. */
  get news(): Promise<void> {
    this.#news ??= Promise.withResolvers();
    return this.#news.promise;
  }

  data(offset: number, bytes: Uint8Array): void {
    if (this.flow.accept(offset, bytes.length) > 0) this.ring.skipTo(offset);
    this.ring.append(bytes);
    this.#lastData = performance.now();
    const old = Math.min(bytes.length, Math.max(0, this.#answered - offset));
    if (this.#draws) {
      this.feed.push(bytes.subarray(0, old), offset);
      this.feed.push(bytes.subarray(old), offset + old);
    } else {
      this.flow.consumed(this.flow.received);
    }
    this.#checkExit();
    this.#changed();
  }

  /** Nobody looks at it any more: what still comes is not held up by the screen. */
  stopDrawing(): void {
    this.#draws = false;
    this.flow.consumed(this.flow.received);
  }

  done(frame: Extract<HostFrame, { type: 'done' }>): void {
    this.#exit ??= { code: frame.code, end: frame.ends[0] };
    this.#checkExit();
  }

  eof(): void {
    if (this.#exit) this.#end();
  }

  /** The host could not start it. */
  refuse(text: string): void {
    this.refusal ??= text.replace(/\.+$/, '').slice(0, 200);
    this.#end();
  }

  /** The sandbox is gone. */
  lost(): void {
    this.#end();
  }

  /** On a new connection: from where to follow, and up to which credit. */
  resume(state: ChannelState): { from: number; limit: number } {
    const { oldest, end } = state.streams[0];
    const from = Math.max(this.flow.received, oldest);
    if (this.flow.received === 0) [this.#answered, this.#drawn] = [end, from];
    if (from > this.flow.received) this.ring.skipTo(from);
    this.input.interrupted();
    return { from, limit: this.flow.resume(from) };
  }

  #onDrawn(to: number): void {
    this.#drawn = to;
    if (this.screen.takeMoved()) this.#movedAt = to;
    this.flow.consumed(to);
  }

  /** A question in bytes that an earlier server has drawn has its answer already. */
  #answer(text: string): void {
    if (this.#isExited || this.#drawn < this.#answered) return;
    try {
      this.input.write(Buffer.from(text, 'latin1'));
    } catch {
      // A program that asks without reading the answers gets none.
    }
  }

  #checkExit(): void {
    if (this.#exit && this.flow.received >= this.#exit.end) this.#end();
  }

  #end(): void {
    if (this.#isExited) return;
    this.#isExited = true;
    this.#exited.resolve(this.exitCode);
    this.#changed();
  }

  #changed(): void {
    this.#news?.resolve();
    this.#news = undefined;
  }

  [Symbol.dispose](): void {
    this.#end();
    this.screen[Symbol.dispose]();
  }
}
