const second = 1000;
/** Milliseconds between two ticks beyond which the machine, and not only a program on it, stood still. */
const standstill = 5000;

/**
 * Seconds in which this machine has run. A virtual machine may be put aside for minutes: then every clock has gone on and
 * every timer is due, though nothing under test had any time.
 */
class Ticks {
  readonly #waiting = new Set<{ left: number; resolve: () => void }>();
  readonly #listeners = new Set<(since: number) => void>();
  #last = performance.now();

  constructor() {
    setInterval(() => this.#tick(), second).unref();
  }

  /** Called after a standstill with the time, of the monotonic clock, at which it began. */
  onStandstill(listener: (since: number) => void): void {
    this.#listeners.add(listener);
  }

  /** Resolves when the machine has run for so many seconds, unless the signal aborts; then never. */
  after(seconds: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const one = { left: seconds, resolve };
    this.#waiting.add(one);
    signal.addEventListener('abort', () => this.#waiting.delete(one), { once: true });
    return promise;
  }

  #tick(): void {
    const last = this.#last;
    this.#last = performance.now();
    if (this.#last - last > standstill) for (const listener of this.#listeners) listener(last);
    for (const one of this.#waiting) {
      one.left -= 1;
      if (one.left <= 0) one.resolve();
    }
  }
}

export const ticks = new Ticks();
