import type { CallTracker } from './server.ts';

/** Whether anything goes on, and since when nothing does. */
export class Activity implements CallTracker {
  readonly #controller = new AbortController();
  readonly #parent: Activity | undefined;
  readonly signal: AbortSignal;
  #running = 0;
  #last = performance.now();
  #idle = Promise.withResolvers<void>();

  /** What happens here happens to the parent, too. */
  constructor(parent?: Activity) {
    this.#parent = parent;
    this.signal = parent ? AbortSignal.any([parent.signal, this.#controller.signal]) : this.#controller.signal;
  }

  begin(): () => void {
    const endParent = this.#parent?.begin();
    this.#running++;
    this.touch();
    return () => {
      this.#running--;
      this.touch();
      if (this.#running === 0) this.#settle();
      endParent?.();
    };
  }

  get running(): number {
    return this.#running;
  }

  touch(): void {
    this.#last = performance.now();
  }

  /** Milliseconds since anything happened; 0 while something does. */
  idleFor(): number {
    return this.#running > 0 ? 0 : performance.now() - this.#last;
  }

  /** Resolves when nothing runs. */
  idle(): Promise<void> {
    return this.#running === 0 ? Promise.resolve() : this.#idle.promise;
  }

  abort(reason: unknown): void {
    this.#controller.abort(reason);
  }

  #settle(): void {
    this.#idle.resolve();
    this.#idle = Promise.withResolvers<void>();
  }
}
