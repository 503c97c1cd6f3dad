import { createHash } from 'node:crypto';

const most = 10_000;
const longest = 86_400_000;

interface Kept {
  readonly first: number;
  last: number;
}

/** Remembers tokens, by their hash, that were good at some time: for so many idle seconds, and never longer than a day. */
export class TokenMemory {
  readonly #kept = new Map<string, Kept>();
  readonly #idle: number;

  constructor(idleSeconds: number) {
    this.#idle = idleSeconds * 1000;
  }

  keep(token: string): void {
    const at = performance.now();
    const hash = hashOf(token);
    const kept = this.#kept.get(hash) ?? { first: at, last: at };
    this.#kept.delete(hash);
    this.#kept.set(hash, { ...kept, last: at });
    for (const oldest of this.#kept.keys()) if (this.#kept.size > most) this.#kept.delete(oldest);
  }

  /** Asking counts as use. */
  holds(token: string): boolean {
    const hash = hashOf(token);
    const kept = this.#kept.get(hash);
    const at = performance.now();
    if (!kept) return false;
    if (at - kept.last > this.#idle || at - kept.first > longest) return !this.#kept.delete(hash);
    kept.last = at;
    return true;
  }
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('base64');
}
