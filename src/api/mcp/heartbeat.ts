/** Sends one `notifications/progress`. */
export type SendProgress = (progress: number, message: string) => void;

/**
 * Progress for a client that asked for it, also while there is none: after each `silence` (milliseconds) the newest
 * message goes out again, with the time that the call has taken. Clients that wait a fixed time for news thus wait on.
 * `progress` grows with every message, as the protocol wants it.
 */
export class Heartbeat implements Disposable {
  readonly #send: SendProgress;
  readonly #began = performance.now();
  readonly #timer: NodeJS.Timeout;
  #progress = 0;
  #newest = 'at work';

  constructor(send: SendProgress, silence: number) {
    this.#send = send;
    this.#timer = setInterval(() => this.#tell(this.#progress, this.#withAge()), silence).unref();
  }

  report(progress: number, message: string): void {
    this.#newest = message;
    this.#tell(progress, message);
    this.#timer.refresh();
  }

  #tell(progress: number, message: string): void {
    this.#progress = Math.max(this.#progress + 1e-6, progress);
    this.#send(this.#progress, message);
  }

  #withAge(): string {
    return `${this.#newest} · ${Math.round((performance.now() - this.#began) / 1000)} s`;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
