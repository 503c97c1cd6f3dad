import { AppError } from '../../errors.ts';

/** Looks at what the other end has taken within the time a transfer may stand still. */
const looks = 4;

/**
 * Ends a transfer that stands still: `signal` aborts when for so long `touch` was not called and what `taken` tells, if it
 * tells anything, stayed the same.
 */
export class Watchdog implements Disposable {
  readonly #abort = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #milliseconds: number;
  readonly #taken: () => Promise<string | undefined>;
  #still = 0;
  #last: string | undefined;

  constructor(milliseconds: number, taken: () => Promise<string | undefined> = async () => undefined) {
    this.#milliseconds = milliseconds;
    this.#taken = taken;
    this.#timer = setInterval(() => void this.#look(), milliseconds / looks).unref();
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  touch(): void {
    this.#still = 0;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    this.#still += 1;
    const taken = await this.#taken();
    if (taken !== this.#last) this.touch();
    this.#last = taken;
    if (this.#still < looks) return;
    clearInterval(this.#timer);
    const message = `Nothing moved for ${this.#milliseconds / 1000} s; the transfer was ended.`;
    this.#abort.abort(new AppError('timeout', message));
  }
}
