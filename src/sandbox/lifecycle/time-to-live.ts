import { AppError } from '../../errors.ts';
import type { Key } from '../../identity/key.ts';
import type { SandboxRow } from '../../state/state.ts';
import { unknownSandbox } from './sentences.ts';

/** Seconds before the end at which it is told, each once. */
const tellings = [600, 60];
const remembered = 1000;

/** The end of one sandbox's time to live, as its callers are told of it. */
export class ComingEnd {
  /** The `tellings` entry that was told last, and of which end, in milliseconds since the epoch. */
  #told = { seconds: Infinity, of: 0 };

  /** A sentence where the end is near and has not been told at this distance. */
  sentence(expires: number | null, now = Date.now()): string[] {
    const due = expires === null ? undefined : tellings.findLast((seconds) => expires - now <= seconds * 1000);
    if (expires === null || due === undefined) return [];
    if (this.#told.of === expires && this.#told.seconds <= due) return [];
    this.#told = { seconds: due, of: expires };
    const left = Math.max(0, Math.round((expires - now) / 1000));
    return [
      `This sandbox ends in ${left} seconds, at ${iso(expires)}, with all its files: its ttl is over then. Save what is needed, or give it more time with keep_sandbox.`,
    ];
  }
}

/** Which sandboxes ended because their time was over: the last thousand since the server started. */
export class Expired {
  readonly #ends = new Map<string, number>();

  note({ principal, handle, expires }: SandboxRow): void {
    this.#ends.set(nameOf(principal, handle), expires ?? Date.now());
    for (const oldest of this.#ends.keys()) if (this.#ends.size > remembered) this.#ends.delete(oldest);
  }

  /** Why the key's handle leads nowhere. Only its owner is told that there was one. */
  refusal({ principal, scope }: Key): AppError {
    const end = 'id' in scope ? this.#ends.get(nameOf(principal.id, scope.id)) : undefined;
    if (end === undefined) return unknownSandbox();
    const message = `sandbox: this one ended at ${iso(end)}, with all its files, as its ttl was over; make another with create_sandbox.`;
    return new AppError('not_found', message);
  }
}

const nameOf = (principal: string, handle: string): string => `${principal}\0${handle}`;
const iso = (at: number): string => new Date(at).toISOString();
