import type { Logger } from '../../log.ts';
import { Rounds } from '../../lib/rounds.ts';
import type { Runtime } from '../ports/runtime.ts';

/** A running sandbox whose workspace is looked at. */
export interface Watched {
  readonly handle: string;
  readonly volume: string;
  /** Bytes. */
  readonly limit: number;
}

export interface DiskWatchOptions {
  readonly runtime: Pick<Runtime, 'volumeSizes'>;
  readonly running: () => readonly Watched[];
  /** Ends a sandbox's container, for a reason given as a clause. */
  readonly stop: (handle: string, why: string) => Promise<void>;
  /** Seconds between two looks. */
  readonly interval: number;
  readonly log: Logger;
}

/** Stops what has outgrown its workspace where nothing else bounds it. */
export class DiskWatch implements Disposable {
  readonly #options: DiskWatchOptions;
  readonly #rounds: Rounds;
  /** Bytes at the last look, of workspaces that were too big then. */
  #tooBig = new Map<string, number>();

  constructor(options: DiskWatchOptions) {
    this.#options = options;
    this.#rounds = new Rounds(() => this.look(), { ...options, failed: 'workspace.watch_failed' });
  }

  /** A workspace that was too big and has not grown since is let be, so that its owner can make room. */
  async look(): Promise<void> {
    const running = this.#options.running();
    if (running.length === 0) return;
    const sizes = await this.#options.runtime.volumeSizes();
    const before = this.#tooBig;
    this.#tooBig = new Map();
    for (const { handle, volume, limit } of running) {
      const size = sizes.get(volume) ?? 0;
      if (size <= limit) continue;
      this.#tooBig.set(volume, size);
      if (size > (before.get(volume) ?? limit)) await this.#stop(handle, size, limit);
    }
  }

  [Symbol.dispose](): void {
    this.#rounds[Symbol.dispose]();
  }

  async #stop(handle: string, size: number, limit: number): Promise<void> {
    this.#options.log.warn({ event: 'workspace.too_big', sandbox: handle, size, limit });
    await this.#options.stop(handle, `its workspace held ${mebibytes(size)}, more than its ${mebibytes(limit)}`);
  }
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 1024 ** 2)} MiB`;
}
