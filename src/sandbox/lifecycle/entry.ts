import type { Live } from './live.ts';
import type { ContainerRecord } from '../ports/runtime.ts';
import type { SandboxRow } from '../../state/state.ts';
import { ComingEnd } from './time-to-live.ts';

/** A sandbox in memory. Its lifecycle steps (start, idle out, end) run one after another. */
export class Entry {
  row: SandboxRow;
  live: Live | undefined;
  leases = 0;
  /** How many sandboxes its owner may have at once, as his last call said; absent = the common limit. */
  bound: number | undefined;
  /** Milliseconds on the monotonic clock. */
  lastUsed = performance.now();
  /** What the last wake could not bring back. */
  lost: readonly string[] = [];
  /** What is told of the end of its time to live. */
  readonly end = new ComingEnd();
  /** True until a caller has been told of `lost`. */
  untold = false;
  /** A container that ran before this server started. */
  found: ContainerRecord | undefined;
  ended = false;
  /** Aborts the wait for a place; only while it waits for one. */
  waiting: AbortController | undefined;
  readonly #listeners = new Set<(message: string) => void>();
  #steps: Promise<unknown> = Promise.resolve();
  #pending = 0;
  readonly #onRest: () => void;

  /** `onRest` is called whenever the last step has ended. */
  constructor(row: SandboxRow, onRest: () => void = () => {}) {
    this.row = row;
    this.#onRest = onRest;
  }

  /** Whether a step runs or waits. */
  get stepping(): boolean {
    return this.#pending > 0;
  }

  /** Runs a lifecycle step after those before it, whatever their outcome. */
  step<T>(run: () => Promise<T>): Promise<T> {
    this.#pending += 1;
    const next = this.#steps.then(run, run);
    this.#steps = next.catch(() => {}).then(() => this.#stepped());
    return next;
  }

  #stepped(): void {
    this.#pending -= 1;
    if (this.#pending === 0) this.#onRest();
  }

  /** Hears what happens to the start until it is disposed. */
  listen(listener: ((message: string) => void) | undefined): Disposable {
    if (listener) this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void (listener && this.#listeners.delete(listener)) };
  }

  /** Tells whoever waits for the sandbox. */
  say(message: string): void {
    for (const listener of this.#listeners) listener(message);
  }

  takeLost(): readonly string[] {
    if (!this.untold) return [];
    this.untold = false;
    return this.lost;
  }

  /** What the next caller is to be told. */
  tell(lost: readonly string[]): void {
    this.lost = lost;
    this.untold = lost.length > 0;
  }

  idleSeconds(): number {
    return (performance.now() - this.lastUsed) / 1000;
  }

  touch(): void {
    this.lastUsed = performance.now();
  }
}
