const minute = 60_000;
const minutes = 60;

/** Adds up what was used within the last hour, to the minute. */
export class HourMeter {
  readonly #now: () => number;
  /** Amounts by the minute they were used in, oldest first. */
  readonly #used = new Map<number, number>();

  /** `now` in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  add(amount: number): void {
    const at = this.#minute();
    this.#used.set(at, (this.#used.get(at) ?? 0) + amount);
  }

  sum(): number {
    this.#forget();
    return [...this.#used.values()].reduce((sum, amount) => sum + amount, 0);
  }

  /** Seconds until the sum is `most` at most; 0 when it is. */
  secondsUntil(most: number): number {
    let sum = this.sum();
    for (const [at, amount] of this.#used) {
      if (sum <= most) return 0;
      sum -= amount;
      if (sum <= most) return Math.ceil(((at + minutes + 1) * minute - this.#now()) / 1000);
    }
    return sum <= most ? 0 : 3600;
  }

  #forget(): void {
    const oldest = this.#minute() - minutes;
    for (const at of this.#used.keys()) if (at < oldest) this.#used.delete(at);
  }

  #minute(): number {
    return Math.floor(this.#now() / minute);
  }
}
