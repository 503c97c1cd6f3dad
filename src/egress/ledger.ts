import type { Denial } from '../sandbox/intercept/diagnosis/diagnose.ts';

const kept = 32;

/** One sandbox's account: what it did not reach of late, and how many bytes it has left. */
export class Ledger {
  #left: number;
  #denials: (Denial & { readonly at: number })[] = [];

  constructor(bytes: number) {
    this.#left = bytes;
  }

  get exhausted(): boolean {
    return this.#left <= 0;
  }

  /** False when that was more than there was left. */
  spend(bytes: number): boolean {
    this.#left -= bytes;
    return this.#left >= 0;
  }

  deny(denial: Denial): void {
    this.#denials = [...this.#denials.slice(1 - kept), { ...denial, at: performance.now() }];
  }

  denials(since: number): readonly Denial[] {
    return this.#denials.filter(({ at }) => at >= since);
  }
}
