/** Holds a flow to a rate, after a first burst. */
export class Pace {
  readonly #rate: number;
  readonly #burst: number;
  /** Milliseconds on the monotonic clock at which the flow has paid for what it took. */
  #paid = 0;

  /** `rate`: bytes per second; `burst`: bytes that may pass at once. */
  constructor(rate: number, burst: number) {
    this.#rate = rate;
    this.#burst = (burst / rate) * 1000;
  }

  /** Counts bytes that passed; returns the milliseconds to wait before more of them may. */
  take(bytes: number, now = performance.now()): number {
    this.#paid = Math.max(this.#paid, now - this.#burst) + (bytes / this.#rate) * 1000;
    return Math.max(0, this.#paid - now);
  }
}
