/** Timers and abort listeners of one operation; disposing clears them all. */
export class Timers implements Disposable {
  readonly #stack = new DisposableStack();

  /** Resolves after so many milliseconds. */
  after(milliseconds: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, Math.min(milliseconds, 2 ** 31 - 1));
    this.#stack.defer(() => clearTimeout(timer));
    return promise;
  }

  /** Resolves when the signal aborts. */
  aborted(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.onAbort(signal, resolve);
    return promise;
  }

  onAbort(signal: AbortSignal | undefined, listener: () => void): void {
    if (!signal) return;
    if (signal.aborted) return listener();
    signal.addEventListener('abort', listener, { once: true });
    this.#stack.defer(() => signal.removeEventListener('abort', listener));
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}
