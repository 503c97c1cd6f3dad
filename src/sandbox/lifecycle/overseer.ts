import { AppError } from '../../errors.ts';
import { inLanes } from '../../lib/lanes.ts';
import type { Key } from '../../identity/key.ts';
import type { Runtime, Usage } from '../ports/runtime.ts';
import type { SandboxRow, State } from '../../state/state.ts';
import type { Live } from './live.ts';
import type { Pool } from './pool.ts';
import { nobody } from './warm.ts';

/** A sandbox as its server's operator sees it. Times are ISO 8601; null is what is not known, or not used while it rests. */
export interface Overseen {
  readonly sandbox: string;
  /** The principal's id, as `berth workspace adopt --owner` takes it. */
  readonly principal: string;
  /** What the operator calls the principal. */
  readonly name: string;
  readonly template: string;
  /** `stopped`: with a container that waits for a quick wake. */
  readonly state: 'running' | 'starting' | 'stopped' | 'idle';
  readonly created: string;
  /** When it came into this state. */
  readonly since: string;
  /** The command that its shell runs. */
  readonly command: string | null;
  /** Bytes. */
  readonly memory: number | null;
  /** CPU time of its container in seconds. */
  readonly cpu_seconds: number | null;
  /** Bytes. */
  readonly disk: number | null;
}

export interface OverseerOptions {
  readonly pool: Pick<Pool, 'lives' | 'status' | 'stop' | 'end'>;
  readonly state: Pick<State, 'all' | 'get'>;
  readonly runtime: Pick<Runtime, 'volumeSizes'>;
  /** What the operator calls a principal. */
  readonly nameOf: (principal: string) => string;
}

/** Looks at a time. */
const atOnce = 8;
/** Milliseconds for what the engine has to measure. */
const patience = 5000;

/** What the operator may see and do of everybody's sandboxes. Ready ones are nobody's, and none of them. */
export class Overseer {
  readonly #options: OverseerOptions;

  constructor(options: OverseerOptions) {
    this.#options = options;
  }

  /** Every sandbox, the oldest first. */
  async list(): Promise<readonly Overseen[]> {
    const { pool, state, runtime } = this.#options;
    const lives = new Map(pool.lives().map(({ row, live }) => [row.handle, live]));
    const usages = new Map<string, Usage>();
    const look = async ([handle, { container }]: [string, Live]) => {
      const usage = await container.usage(AbortSignal.timeout(patience)).catch(() => undefined);
      if (usage) usages.set(handle, usage);
    };
    const measured = runtime.volumeSizes(AbortSignal.timeout(patience)).catch(() => new Map<string, number>());
    await inLanes(atOnce, [...lives], look);
    const sizes = await measured;
    const rows = state.all().filter(({ principal }) => principal !== nobody);
    return rows
      .toSorted((a, b) => a.created - b.created)
      .map((row) => this.#overseen(row, { live: lives.get(row.handle), usage: usages.get(row.handle), sizes }));
  }

  /** Ends the container; the workspace stays. Rejects `not_found`, and `conflict` where none runs. */
  async stop(handle: string): Promise<void> {
    const status = await this.#options.pool.status(this.#keyOf(handle));
    if (status?.state !== 'running') throw new AppError('conflict', `The sandbox ${handle} does not run.`);
    await this.#options.pool.stop(handle, 'the operator stopped it');
  }

  /** Removes the sandbox with its workspace. Rejects `not_found`. */
  async end(handle: string): Promise<void> {
    await this.#options.pool.end(this.#keyOf(handle));
  }

  #keyOf(handle: string): Key {
    const row = this.#options.state.get(handle);
    if (row && row.principal !== nobody)
      return { principal: { id: row.principal }, scope: { kind: 'handle', id: handle } };
    const got = JSON.stringify(handle.slice(0, 80));
    throw new AppError('not_found', `HANDLE: expected a sandbox that berth ps shows, got ${got}.`);
  }

  #overseen(row: SandboxRow, { live, usage, sizes }: Found): Overseen {
    return {
      sandbox: row.handle,
      principal: row.principal,
      name: this.#options.nameOf(row.principal),
      template: row.template,
      state: live ? 'running' : row.state === 'live' ? 'starting' : row.state,
      created: new Date(row.created).toISOString(),
      since: new Date(row.lastUsed).toISOString(),
      command: live?.command?.() ?? null,
      memory: usage?.memory ?? null,
      cpu_seconds: usage?.cpuSeconds ?? null,
      disk: sizes.get(row.volume) ?? null,
    };
  }
}

interface Found {
  readonly live: Live | undefined;
  readonly usage: Usage | undefined;
  readonly sizes: ReadonlyMap<string, number>;
}
