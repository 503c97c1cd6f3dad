import type { Logger } from '../../log.ts';
import type { Live } from '../pool/live.ts';
import { Rounds } from '../rounds.ts';
import type { SandboxRow } from '../state.ts';
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
  /** CPU seconds at the last look, by container; what an earlier server counted is not counted again. */
  #seen: Map<string, number> | undefined;

  constructor(options: CpuWatchOptions) {
    this.#options = options;
    this.#rounds = new Rounds(() => this.look(), { ...options, failed: 'cpu.watch_failed' });
  }

  async look(): Promise<void> {
    const waiting = [...this.#options.running()];
    const seen = new Map<string, number>();
    const next = async () => {
      for (let one = waiting.pop(); one; one = waiting.pop()) await this.#count(one.row, one.live, seen);
    };
    await Promise.all(Array.from({ length: atOnce }, next));
    this.#seen = seen;
  }

  [Symbol.dispose](): void {
    this.#rounds[Symbol.dispose]();
  }

  async #count(row: SandboxRow, { container }: Live, seen: Map<string, number>): Promise<void> {
    const usage = await container.usage(AbortSignal.timeout(5000)).catch(() => undefined);
    const before = this.#seen ? (this.#seen.get(container.id) ?? 0) : usage?.cpuSeconds;
    const now = usage?.cpuSeconds ?? before;
    if (now === undefined || before === undefined) return;
    seen.set(container.id, now);
    const used = Math.max(0, now - before);
    const { limiter, interval } = this.#options;
    if (limiter.cpu(row.principal, used) && used > interval * idleShare) await this.#stop(row);
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
