import { AppError } from '../../errors.ts';
import type { Entry } from './entry.ts';
import { FairQueue } from './fair-queue.ts';
import type { Headroom } from './headroom.ts';
import type { Roster } from './roster.ts';
import { full } from './sentences.ts';
import type { SandboxRow } from '../../state/state.ts';
import { Timers } from '../../lib/timers.ts';
import { detached } from '../../lib/detached.ts';

/** Bytes of memory that running sandboxes may use together; 0 = no bound. */
export interface MemoryLimits {
  /** One principal's. */
  readonly each: number;
  readonly total: number;
  /** What one sandbox may use, and the most that any may. */
  of(row: Pick<SandboxRow, 'template'>): number;
  readonly largest: number;
}

export interface AdmissionLimits {
  /** Sandboxes with a container at the same time. */
  readonly maxSandboxes: number;
  /** The same for one principal; 0 = no bound of its own. */
  readonly maxPerPrincipal: number;
  /** Containers being started at the same time. */
  readonly maxStarts: number;
  readonly memory: MemoryLimits;
  /** How many first calls may wait for a place, and for how many seconds while all are taken. */
  readonly queue: { readonly longest: number; readonly wait: number };
  readonly headroom?: Headroom;
}

/** A sandbox idle for less than this many seconds is not given up for another one's start. */
const minimumIdle = 60;
/** Milliseconds between two looks for room that nothing tells of: memory, and sandboxes idle for long enough. */
const lookEvery = 1000;
/** Milliseconds between two notes on the same call's place. */
const sayEvery = 1000;
const retryAfter = 30;

type Idle = (entry: Entry, seconds: number) => Promise<boolean>;

/**
 * Lets sandboxes start: as many at a time as the engine takes, one owner after the other. At the bound the one that has
 * been idle for longest makes room; where none can, the call waits, and is refused with `busy` in the end.
 */
export class Admission {
  readonly #roster: Roster;
  readonly #limits: AdmissionLimits;
  readonly #idleIfUnused: Idle;
  readonly #queue: FairQueue;
  /** Those let in whose container is being started, in the order they came. */
  readonly #starting = new Set<Entry>();
  #looking: NodeJS.Timeout | undefined;

  constructor(roster: Roster, limits: AdmissionLimits, idleIfUnused: Idle) {
    this.#roster = roster;
    this.#limits = limits;
    this.#idleIfUnused = idleIfUnused;
    const room = () => this.#queue.inside < limits.maxStarts && this.#shortage() === undefined;
    this.#queue = new FairQueue({ room, longest: limits.queue.longest });
  }

  /** Calls that wait for a place. */
  get waiting(): number {
    return this.#queue.waiting;
  }

  /** Whether a sandbox may start without waiting. */
  hasRoom(): boolean {
    return this.#queue.waiting === 0 && this.#shortage() === undefined;
  }

  /** Whether the row's owner may have it at once, with nothing to be given up for it. */
  hasRoomFor(row: SandboxRow, bound: number | undefined): boolean {
    if (!this.hasRoom()) return false;
    const own = this.#roster.awake().filter((entry) => entry.row.principal === row.principal);
    return this.#ownBound(row, bound, own) === undefined;
  }

  /** Resolves to a place among those that start, to be disposed when the start is over. Rejects `busy`, or as the signal. */
  async admit(entry: Entry, signal: AbortSignal): Promise<Disposable> {
    await this.#makeOwnRoom(entry);
    if (this.#shortage() !== undefined) await this.#evict(this.#others(entry));
    entry.waiting = new AbortController();
    const place = await this.#turn(entry, AbortSignal.any([signal, entry.waiting.signal]));
    entry.waiting = undefined;
    this.#starting.add(entry);
    try {
      await this.#makeOwnRoom(entry);
    } catch (error) {
      this.#leave(entry, place);
      throw error;
    }
    return { [Symbol.dispose]: () => this.#leave(entry, place) };
  }

  /** To be called when a sandbox's container has gone. */
  freed(): void {
    this.#queue.pump();
  }

  /** Where the host is short of memory, idles out what has been idle for longest. */
  async relieve(): Promise<void> {
    if (this.#limits.headroom?.isLow()) await this.#evict(this.#roster.awake());
  }

  #leave(entry: Entry, place: Disposable): void {
    this.#starting.delete(entry);
    place[Symbol.dispose]();
  }

  async #turn(entry: Entry, signal: AbortSignal): Promise<Disposable> {
    const giveUp = new AbortController();
    using timers = new Timers();
    let place = 1;
    let said = Number.NEGATIVE_INFINITY;
    const onPlace = (now: number) => {
      place = now;
      if (performance.now() - said < sayEvery) return;
      said = performance.now();
      entry.say(`Waiting for a place: number ${now} of ${this.#queue.waiting} in the queue.`);
    };
    const expire = () => {
      const why = this.#shortage();
      if (why !== undefined) return giveUp.abort(this.#refusal(why, place));
      detached(timers.after(lookEvery).then(expire));
    };
    const entering = this.#queue.enter(entry.row.principal, {
      signal: AbortSignal.any([signal, giveUp.signal]),
      onPlace,
    });
    detached(timers.after(this.#limits.queue.wait * 1000).then(expire));
    this.#look();
    return await entering;
  }

  #refusal(why: string, place: number): AppError {
    const waiting = this.#queue.waiting;
    const queue = waiting > 1 ? `, and ${waiting} calls wait, yours at place ${place}` : '';
    const message = `${why}${queue}; end one of yours with end_sandbox or try again in ${retryAfter} s.`;
    return new AppError('busy', message, { data: { retry_after: retryAfter, position: place, waiting } });
  }

  /** For as long as anybody waits. */
  #look(): void {
    if (this.#looking || this.#queue.waiting === 0) return;
    const look = async () => {
      this.#looking = undefined;
      if (this.#shortage() !== undefined) await this.#evict(this.#roster.awake());
      this.#queue.pump();
      this.#look();
    };
    this.#looking = setTimeout(() => detached(look().catch(() => this.#look())), lookEvery).unref();
  }

  #others(entry: Entry): Entry[] {
    return this.#roster.awake().filter((other) => other !== entry);
  }

  /** Why nobody may start, as a sentence without its end. */
  #shortage(): string | undefined {
    const { maxSandboxes, memory, headroom } = this.#limits;
    const taken = new Set([...this.#roster.awake(), ...this.#starting]);
    // One that has just been let in counts before it is among those that start.
    if (taken.size + (this.#queue.inside - this.#starting.size) >= maxSandboxes)
      return `All ${maxSandboxes} sandboxes of this server are in use`;
    if (memory.total > 0 && this.#memoryOf(taken) + memory.largest > memory.total)
      return `The sandboxes of this server may use ${mebibytes(memory.total)} of memory together, and that is in use`;
    return headroom?.shortage();
  }

  async #makeOwnRoom(entry: Entry): Promise<void> {
    for (;;) {
      const own = this.#ownBefore(entry);
      const why = this.#ownBound(entry.row, entry.bound, own);
      if (why === undefined) return;
      if (!(await this.#evict(own))) throw full(why);
    }
  }

  /** The owner's other sandboxes; of those that start at the same time, the earlier ones. */
  #ownBefore(entry: Entry): Entry[] {
    const starting = [...this.#starting];
    const at = starting.indexOf(entry);
    const earlier = at < 0 ? starting : starting.slice(0, at);
    const awake = this.#others(entry).filter((other) => !this.#starting.has(other));
    return [...awake, ...earlier].filter((other) => other.row.principal === entry.row.principal);
  }

  #ownBound(row: SandboxRow, bound: number | undefined, own: readonly Entry[]): string | undefined {
    const { maxPerPrincipal, memory } = this.#limits;
    const most = bound ?? maxPerPrincipal;
    if (most > 0 && own.length >= most) return `You have ${own.length} sandboxes running, the most allowed`;
    if (memory.each === 0 || this.#memoryOf(own) + memory.of(row) <= memory.each) return undefined;
    return `Your ${own.length} running sandboxes may use ${mebibytes(this.#memoryOf(own))} of memory, another one ${mebibytes(memory.of(row))}, and ${mebibytes(memory.each)} are allowed`;
  }

  #memoryOf(entries: Iterable<Entry>): number {
    return [...entries].reduce((sum, { row }) => sum + this.#limits.memory.of(row), 0);
  }

  async #evict(candidates: readonly Entry[]): Promise<boolean> {
    const unused = candidates.filter((entry) => entry.leases === 0 && entry.idleSeconds() >= minimumIdle);
    for (const entry of unused.toSorted((a, b) => a.lastUsed - b.lastUsed))
      if (await this.#idleIfUnused(entry, minimumIdle)) return true;
    return false;
  }
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1024 ** 2)} MiB`;
}
