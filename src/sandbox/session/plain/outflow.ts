import { maxData } from '../wire/frame.ts';

/** One stream on its way to the server, never further than its credit. */
export class Outflow {
  readonly #emit: (offset: number, bytes: Uint8Array) => void;
  #limit: number;
  #sent = 0;
  #more = Promise.withResolvers<void>();

  constructor(window: number, emit: (offset: number, bytes: Uint8Array) => void) {
    this.#limit = window;
    this.#emit = emit;
  }

  /** Bytes sent so far. */
  get sent(): number {
    return this.#sent;
  }

  credit(limit: number): void {
    this.#limit = Math.max(this.#limit, limit);
    this.#more.resolve();
    this.#more = Promise.withResolvers();
  }

  /** No more is sent, and whoever waits for credit goes on. */
  close(): void {
    this.credit(Infinity);
  }

  /** Resolves when all was sent. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let rest = bytes; rest.length > 0;) {
      if (this.#limit === Infinity) return;
      const size = Math.min(rest.length, maxData, this.#limit - this.#sent);
      if (size <= 0) {
        await this.#more.promise;
        continue;
      }
      const offset = this.#sent;
      this.#sent += size;
      this.#emit(offset, rest.subarray(0, size));
      rest = rest.subarray(size);
    }
  }
}
