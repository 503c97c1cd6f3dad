/** Holds a flow to a rate, after a first burst. What flows may be bytes, or milliseconds of work. */
export class Pace {
  readonly #rate: number;
  readonly #burst: number;
  /** Milliseconds on the monotonic clock at which the flow has paid for what it took. */
  #paid = 0;

  /** `rate`: units per millisecond; `burst`: units that may pass at once. */
  constructor(rate: number, burst: number) {
    this.#rate = rate;
    this.#burst = burst / rate;
  }

  /** Counts units that passed; returns the milliseconds to wait before more of them may. */
  take(units: number, now = performance.now()): number {
    this.#paid = Math.max(this.#paid, now - this.#burst) + units / this.#rate;
    return Math.max(0, this.#paid - now);
  }
}
