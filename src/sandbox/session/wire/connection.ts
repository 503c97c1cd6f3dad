import { FrameParser, type HostFrame } from './frame.ts';
import type { Process } from '../../ports/runtime.ts';
import { detached } from '../../../lib/detached.ts';

/** Bytes that may wait for the host to read them; more means that it has stopped. */
const maxQueued = 8 * 1024 * 1024;
const batch = 64 * 1024;
const maxComplaint = 2048;

/** One `attach` process: frames in, frames out. It ends once and is not used again. */
export class Connection implements AsyncDisposable {
  readonly #process: Process;
  readonly #onFrame: (frame: HostFrame) => void;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #ended = Promise.withResolvers<Error>();
  #queue: Uint8Array[] = [];
  #queued = 0;
  #writing = false;
  #over = false;
  #complaint = '';

  /** `onFrame` is called as frames come and must not block; what it throws ends the connection. */
  constructor(process: Process, onFrame: (frame: HostFrame) => void) {
    this.#process = process;
    this.#onFrame = onFrame;
    this.#writer = process.stdin.getWriter();
    this.#writer.closed.catch((error: unknown) => this.fail(asError(error)));
    detached(this.#readComplaint());
    detached(this.#read());
  }

  /** Resolves with the first cause when the connection has ended. */
  get ended(): Promise<Error> {
    return this.#ended.promise;
  }

  /** What the attaching process wrote to its stderr. */
  get complaint(): string {
    return this.#complaint;
  }

  send(...frames: readonly Uint8Array[]): void {
    if (this.#over) return;
    for (const frame of frames) this.#queued += frame.length;
    if (this.#queued > maxQueued) return this.fail(new Error('the session host takes no input'));
    this.#queue.push(...frames);
    if (!this.#writing) detached(this.#write());
  }

  /** Ends the connection; the first cause wins. */
  fail(cause: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#queue = [];
    this.#ended.resolve(cause);
    this[Symbol.asyncDispose]().catch(() => {});
  }

  async #read(): Promise<void> {
    const parser = new FrameParser();
    try {
      for await (const chunk of this.#process.stdout) {
        if (this.#over) continue;
        for (const frame of parser.push(chunk)) this.#onFrame(frame);
      }
      this.fail(new Error('the stream to the session host ended'));
    } catch (error) {
      this.fail(asError(error));
    }
  }

  async #readComplaint(): Promise<void> {
    const decoder = new TextDecoder();
    try {
      for await (const chunk of this.#process.stderr) {
        if (this.#complaint.length < maxComplaint) this.#complaint += decoder.decode(chunk.subarray(0, maxComplaint));
      }
    } catch {
      // The read of stdout reports what ended the process.
    }
  }

  async #write(): Promise<void> {
    this.#writing = true;
    try {
      while (this.#queue.length > 0) {
        const bytes = this.#nextBatch();
        await this.#writer.write(bytes);
        this.#queued -= bytes.length;
      }
    } catch (error) {
      this.fail(asError(error));
    } finally {
      this.#writing = false;
    }
  }

  #nextBatch(): Uint8Array {
    let size = 0;
    let count = 0;
    for (const frame of this.#queue) {
      if (count > 0 && size + frame.length > batch) break;
      size += frame.length;
      count += 1;
    }
    const frames = this.#queue.splice(0, count);
    return frames.length === 1 && frames[0] ? frames[0] : Buffer.concat(frames, size);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true;
    this.#ended.resolve(new Error('the connection was closed'));
    await this.#process[Symbol.asyncDispose]();
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
