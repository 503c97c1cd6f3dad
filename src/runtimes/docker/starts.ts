import { cancelled } from './client.ts';

/** Keeps the starts of a container's processes apart from what must not meet one. */
export class Starts {
  readonly #running = new Map<string, Set<Promise<void>>>();
  readonly #held = new Map<string, Promise<void>>();

  /** A start, to be disposed when the engine has taken it. Waits while the container is held. */
  async begin(container: string, signal?: AbortSignal): Promise<Disposable> {
    while (this.#held.has(container)) await this.#held.get(container);
    if (signal?.aborted) throw cancelled(signal);
    const { promise, resolve } = Promise.withResolvers<void>();
    const running = this.#running.get(container) ?? new Set();
    this.#running.set(container, running.add(promise));
    return {
      [Symbol.dispose]: () => {
        running.delete(promise);
        if (running.size === 0) this.#running.delete(container);
        resolve();
      },
    };
  }

  /** Resolves when no start is running; none begins until it is disposed. */
  async hold(container: string): Promise<Disposable> {
    while (this.#held.has(container)) await this.#held.get(container);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held.set(container, promise);
    await Promise.all(this.#running.get(container) ?? new Set<Promise<void>>());
    return {
      [Symbol.dispose]: () => {
        this.#held.delete(container);
        resolve();
      },
    };
  }
}
