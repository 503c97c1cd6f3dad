import type { Logger } from '../../log.ts';
import type { Runtime } from '../ports/runtime.ts';
import type { SandboxRow, State } from '../../state/state.ts';
import type { Keeper } from './keeper.ts';
import { containerName, type Roster } from './roster.ts';
import type { Expired } from './time-to-live.ts';
import { nobody, type WarmPool } from './warm.ts';

export interface SweeperOptions {
  readonly runtime: Runtime;
  readonly state: State;
  readonly log: Logger;
  readonly roster: Roster;
  readonly keeper: Keeper;
  readonly warm: WarmPool;
  readonly expired: Expired;
  /** Aborts when the server goes. */
  readonly closing: AbortSignal;
  /** Seconds without work after which a sandbox's container is stopped. */
  readonly idleTimeout: number;
  /** Seconds after which a stopped container is removed. */
  readonly removeAfter: number;
  /** Most stopped containers that are kept. */
  readonly maxSandboxes: number;
  /** Days an unused workspace is kept; 0 = for ever. */
  readonly retention: number;
}

/** Conversations that Open WebUI forgets with the page they are on. */
const passing = /^(temporary|local):/;
const day = 86_400_000;

/** Takes back what nobody uses any more, step by step. What fails in one sandbox stops the sweep of no other. */
export class Sweeper {
  readonly #options: SweeperOptions;
  #sweeping: Promise<void> | undefined;

  constructor(options: SweeperOptions) {
    this.#options = options;
  }

  /** One sweep; the one under way where there is one. */
  sweep(): Promise<void> {
    this.#sweeping ??= this.#sweep().finally(() => (this.#sweeping = undefined));
    return this.#sweeping;
  }

  /** Resolves when no sweep is under way. */
  async settled(): Promise<void> {
    await this.#sweeping;
  }

  async #sweep(): Promise<void> {
    const { roster, keeper, warm, state, closing, idleTimeout } = this.#options;
    for (const entry of roster.all()) {
      if (closing.aborted) return;
      await this.#quietly(() => keeper.idleIfUnused(entry, idleTimeout));
    }
    const rows = state.all();
    const now = Date.now();
    const owned = rows.filter((row) => row.principal !== nobody);
    for (const row of this.#stoppedForLong(owned, now)) await this.#quietly(() => this.#clear(row));
    for (const row of owned) await this.#quietly(() => this.#endWhenOver(row, now));
    await this.#quietly(() => warm.refresh());
    await this.#quietly(() => this.#reap(rows));
  }

  /** Those that are not worth their stopped container any more: too old, or too many. */
  #stoppedForLong(rows: readonly SandboxRow[], now: number): SandboxRow[] {
    const { removeAfter, maxSandboxes } = this.#options;
    const stopped = rows.filter((row) => row.state === 'stopped').toSorted((a, b) => b.lastUsed - a.lastUsed);
    return stopped.filter((row, place) => place >= maxSandboxes || now - row.lastUsed > removeAfter * 1000);
  }

  async #clear(row: SandboxRow): Promise<void> {
    const { roster, keeper } = this.#options;
    const entry = roster.remember(row);
    await entry.step(() => keeper.clear(entry));
  }

  /** Ends a sandbox if its time to live has ended. */
  async endIfOver({ handle, expires }: SandboxRow): Promise<void> {
    if (expires === null || expires > Date.now()) return;
    // The row may be older than the last setting of the clock.
    const row = this.#options.state.all().find((one) => one.handle === handle);
    if (row) await this.#endWhenOver(row, Date.now());
  }

  async #endWhenOver(row: SandboxRow, now: number): Promise<void> {
    const { roster, keeper } = this.#options;
    const expired = row.expires !== null && row.expires <= now;
    if (!expired && !(row.state !== 'live' && now - row.lastUsed > this.#kept(row))) return;
    const entry = roster.remember(row);
    const why = expired ? 'its time to live ended' : 'it was unused for too long';
    if (expired) this.#options.expired.note(row);
    await entry.step(async () => {
      if (expired || entry.leases === 0) await keeper.end(entry, false, why);
    });
  }

  /** Milliseconds for which the workspace of an idle sandbox is kept; a passing conversation comes back soon or never. */
  #kept(row: SandboxRow): number {
    const { idleTimeout, retention } = this.#options;
    if (row.scopeKind === 'conversation' && passing.test(row.scopeId)) return idleTimeout * 1000;
    return retention > 0 ? retention * day : Infinity;
  }

  /** Removes what dead instances left, and what never came to run. */
  async #reap(rows: readonly SandboxRow[]): Promise<void> {
    const { runtime, state, log } = this.#options;
    const live = rows.filter((row) => row.state === 'live');
    const containers = await runtime.reap(new Set(live.map((row) => containerName(state.instance, row.handle))));
    if (containers.length > 0) log.info({ event: 'containers.reaped', containers });
  }

  async #quietly(run: () => Promise<unknown>): Promise<void> {
    try {
      await run();
    } catch (err) {
      this.#options.log.warn({ event: 'sandbox.sweep_failed', err });
    }
  }
}
