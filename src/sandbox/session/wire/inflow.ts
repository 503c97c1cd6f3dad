import { FrameError } from './frame.ts';

/** Where a stream from the host stands, and how far it may run ahead of what was consumed. */
export class Inflow {
  readonly #window: number;
  readonly #grant: (limit: number) => void;
  #received = 0;
  #limit: number;

  /** The host begins with a credit of `window` bytes; `grant` sends it a new limit. */
  constructor(window: number, grant: (limit: number) => void) {
    this.#window = window;
    this.#limit = window;
    this.#grant = grant;
  }

  /** Offset up to which the stream has come. */
  get received(): number {
    return this.#received;
  }

  get limit(): number {
    return this.#limit;
  }

  /** Takes note of bytes at `offset` and returns how many before them were lost. Throws `FrameError` on a repeat or an overrun. */
  accept(offset: number, length: number): number {
    const lost = offset - this.#received;
    if (lost < 0) throw new FrameError('a stream went back');
    if (offset + length > this.#limit + lost) throw new FrameError('a stream ran over its credit');
    this.#received = offset + length;
    this.#limit += lost;
    return lost;
  }

  /** Grants more once half of the window behind `consumed` has been used. */
  consumed(offset: number): void {
    const limit = offset + this.#window;
    if (limit - this.#limit < this.#window / 2) return;
    this.#limit = limit;
    this.#grant(limit);
  }

  /** Continues at `offset`, where a host that is met again still has the stream; returns the limit to follow it with. */
  resume(offset: number): number {
    this.#received = offset;
    this.#limit = Math.max(this.#limit, offset + this.#window);
    return this.#limit;
  }
}
