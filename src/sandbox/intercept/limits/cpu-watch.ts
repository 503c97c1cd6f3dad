import { inLanes } from '../../../lib/lanes.ts';
import type { Logger } from '../../../log.ts';
import type { Live } from '../../lifecycle/live.ts';
import { Rounds } from '../../../lib/rounds.ts';
import type { SandboxRow } from '../../../state/state.ts';
import type { Limiter } from './limiter.ts';

export interface CpuWatchOptions {
  readonly limiter: Limiter;
  readonly running: () => readonly { readonly row: SandboxRow; readonly live: Live }[];
  /** Ends a sandbox's container, for a reason given as a clause. */
  readonly stop: (handle: string, why: string) => Promise<void>;
  /** Seconds between two looks. */
  readonly interval: number;
  readonly log: Logger;
}

/** Looks at a time. */
const atOnce = 8;
/** A sandbox that uses less of a CPU than this goes on, whatever its owner has used. */
const idleShare = 0.05;

/** Counts the CPU time of running sandboxes, and stops those that go on when their owner has used what is allowed. */
export class CpuWatch implements Disposable {
  readonly #options: CpuWatchOptions;
  readonly #rounds: Rounds;
  /** CPU seconds when last looked at, by container. */
  readonly #seen = new Map<string, number>();
  /** What runs at the first look may be an earlier server's: what that one counted is not counted again. */
  #first = true;

  constructor(options: CpuWatchOptions) {
    this.#options = options;
    this.#rounds = new Rounds(() => this.look(), { ...options, failed: 'cpu.watch_failed' });
  }

  async look(): Promise<void> {
    const running = this.#options.running();
    await inLanes(atOnce, running, ({ row, live }) => this.#look(row, live));
    this.#first = false;
    const ids = new Set(running.map(({ live }) => live.container.id));
    for (const id of this.#seen.keys()) if (!ids.has(id)) this.#seen.delete(id);
  }

  /** Counts what a sandbox has used since the last look, before it is ended: many short ones are no way around a limit. */
  async last(row: SandboxRow, live: Live): Promise<void> {
    if (!this.#first) this.#options.limiter.cpu(row.principal, await this.#used(live));
  }

  [Symbol.dispose](): void {
    this.#rounds[Symbol.dispose]();
  }

  async #look(row: SandboxRow, live: Live): Promise<void> {
    const used = await this.#used(live);
    const { limiter, interval } = this.#options;
    if (limiter.cpu(row.principal, used) && used > interval * idleShare) await this.#stop(row);
  }

  /** CPU seconds since the last time it was asked. */
  async #used({ container }: Live): Promise<number> {
    const usage = await container.usage(AbortSignal.timeout(5000)).catch(() => undefined);
    if (!usage) return 0;
    const before = this.#seen.get(container.id) ?? (this.#first ? usage.cpuSeconds : 0);
    this.#seen.set(container.id, usage.cpuSeconds);
    // A container that was stopped and started again counts from nothing.
    return usage.cpuSeconds < before ? usage.cpuSeconds : usage.cpuSeconds - before;
  }

  async #stop(row: SandboxRow): Promise<void> {
    const { limiter, stop, log } = this.#options;
    const shortage = limiter.cpuShortage(row.principal);
    if (!shortage) return;
    log.warn({ event: 'sandbox.cpu_exceeded', sandbox: row.handle });
    await stop(
      row.handle,
      shortage.why.replace(/^./, (letter) => letter.toLowerCase()),
    );
  }
}
