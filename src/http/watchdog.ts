import { AppError } from '../errors.ts';

/** Ends a transfer that stands still: `signal` aborts when `touch` was not called for so long. */
export class Watchdog implements Disposable {
  readonly #abort = new AbortController();
  readonly #timer: NodeJS.Timeout;

  constructor(milliseconds: number) {
    const message = `Nothing moved for ${milliseconds / 1000} s; the transfer was ended.`;
    this.#timer = setTimeout(() => this.#abort.abort(new AppError('timeout', message)), milliseconds).unref();
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  touch(): void {
    this.#timer.refresh();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
