import type { Entry } from './entry.ts';
import type { Roster } from './roster.ts';
import { full } from './sentences.ts';

export interface AdmissionLimits {
  /** Sandboxes with a container at the same time. */
  readonly maxSandboxes: number;
  /** The same for one principal; 0 = no bound of its own. */
  readonly maxPerPrincipal: number;
}

/** A sandbox idle for less than this many seconds is not given up for another one's start. */
const minimumIdle = 60;

/** Lets a sandbox start, or refuses with `busy`. At the bound, the one that has been idle for longest makes room. */
export class Admission {
  readonly #roster: Roster;
  readonly #limits: AdmissionLimits;
  readonly #idleIfUnused: (entry: Entry, seconds: number) => Promise<boolean>;

  constructor(
    roster: Roster,
    limits: AdmissionLimits,
    idleIfUnused: (entry: Entry, seconds: number) => Promise<boolean>,
  ) {
    this.#roster = roster;
    this.#limits = limits;
    this.#idleIfUnused = idleIfUnused;
  }

  /** Whether the principal may have one more at once, with nothing to be given up for it. */
  hasRoomFor(principal: string): boolean {
    const { maxSandboxes, maxPerPrincipal } = this.#limits;
    const awake = this.#roster.awake();
    const own = awake.filter((entry) => entry.row.principal === principal).length;
    return awake.length < maxSandboxes && (maxPerPrincipal === 0 || own < maxPerPrincipal);
  }

  async admit(entry: Entry): Promise<void> {
    const { maxSandboxes } = this.#limits;
    const maxPerPrincipal = entry.bound ?? this.#limits.maxPerPrincipal;
    const others = this.#roster.awake().filter((other) => other !== entry);
    const own = others.filter((other) => other.row.principal === entry.row.principal);
    if (maxPerPrincipal > 0 && own.length >= maxPerPrincipal && !(await this.#evict(own)))
      throw full(`You have ${own.length} sandboxes running, the most allowed`);
    if (others.length >= maxSandboxes && !(await this.#evict(others)))
      throw full(`All ${maxSandboxes} sandboxes of this server are in use`);
  }

  async #evict(candidates: readonly Entry[]): Promise<boolean> {
    const unused = candidates.filter((entry) => entry.leases === 0 && entry.idleSeconds() >= minimumIdle);
    for (const entry of unused.toSorted((a, b) => a.lastUsed - b.lastUsed))
      if (await this.#idleIfUnused(entry, minimumIdle)) return true;
    return false;
  }
}
