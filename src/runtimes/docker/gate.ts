import { cancelled } from './client.ts';

/** Lets a bounded number in at a time, first come, first served. */
export class Gate {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(places: number) {
    this.#free = places;
  }

  /** Resolves to a place, to be disposed once; rejects `cancelled` when the signal aborts first. */
  async enter(signal?: AbortSignal): Promise<Disposable> {
    if (signal?.aborted) throw cancelled(signal);
    if (this.#free > 0) this.#free--;
    else await this.#turn(signal);
    return { [Symbol.dispose]: () => this.#leave() };
  }

  /** True when nobody is in or waiting. */
  idle(places: number): boolean {
    return this.#free === places && this.#waiting.size === 0;
  }

  #turn(signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const abort = () => {
      this.#waiting.delete(enter);
      reject(cancelled(signal!));
    };
    const enter = () => {
      signal?.removeEventListener('abort', abort);
      resolve();
    };
    this.#waiting.add(enter);
    signal?.addEventListener('abort', abort, { once: true });
    return promise;
  }

  #leave(): void {
    const [next] = this.#waiting;
    if (!next) return void this.#free++;
    this.#waiting.delete(next);
    next();
  }
}

/** Takes turns by name: two uses of one name never overlap, two names never wait for each other. */
export class Turns {
  readonly #gates = new Map<string, Gate>();

  async take(name: string, signal?: AbortSignal): Promise<Disposable> {
    const gate = this.#gates.get(name) ?? new Gate(1);
    this.#gates.set(name, gate);
    const place = await gate.enter(signal);
    return {
      [Symbol.dispose]: () => {
        place[Symbol.dispose]();
        if (gate.idle(1)) this.#gates.delete(name);
      },
    };
  }

  has(name: string): boolean {
    return this.#gates.has(name);
  }
}
