import { readFileSync } from 'node:fs';
import type { Runtime } from '../ports/runtime.ts';
import { detached } from '../../lib/detached.ts';

export interface HeadroomOptions {
  /** Bytes of memory that the engine's host has; `undefined` while that is not known. */
  readonly total: () => number | undefined;
  /** Bytes that the running sandboxes may use together. */
  readonly committed: () => number;
  /** With less memory free, no sandbox starts; 0 = never mind. */
  readonly start: number;
  /** With less memory free, the sandbox that has been idle for longest is idled out; 0 = never mind. */
  readonly idle: number;
  /** This machine's memory as the kernel tells it; absent: `/proc/meminfo`. */
  readonly meminfo?: () => string;
}

/** Milliseconds for which a look at the memory is good. */
const age = 500;

/** How much memory the engine's host has left. */
export class Headroom {
  readonly #options: HeadroomOptions;
  #looked = { at: Number.NEGATIVE_INFINITY, free: undefined as number | undefined };

  constructor(options: HeadroomOptions) {
    this.#options = options;
  }

  /** Why no sandbox may start, as a sentence without its end; `undefined` when one may. */
  shortage(): string | undefined {
    const free = this.#free();
    if (free === undefined || free >= this.#options.start) return undefined;
    return `The host has ${mebibytes(free)} of memory free, and no sandbox starts below ${mebibytes(this.#options.start)}`;
  }

  /** Whether idle sandboxes should go. */
  isLow(): boolean {
    const free = this.#free();
    return free !== undefined && free < this.#options.idle;
  }

  #free(): number | undefined {
    if (this.#options.start === 0 && this.#options.idle === 0) return undefined;
    const now = performance.now();
    if (now - this.#looked.at > age) this.#looked = { at: now, free: this.#look() };
    return this.#looked.free;
  }

  /**
   * What the kernel calls available, where the engine runs on this machine: then both have the same memory. Elsewhere
   * what the sandboxes may not use.
   */
  #look(): number | undefined {
    const total = this.#options.total();
    if (total === undefined) return undefined;
    const here = readMemory(this.#options.meminfo ?? kernelMemory);
    const same = here && Math.abs(here.total - total) < total / 100;
    return same ? here.available : total - this.#options.committed();
  }
}

const kernelMemory = (): string => readFileSync('/proc/meminfo', 'utf8');

function readMemory(meminfo: () => string): { total: number; available: number } | undefined {
  try {
    const text = meminfo();
    const bytes = (name: string) => Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(text)?.[1]) * 1024;
    const [total, available] = [bytes('MemTotal'), bytes('MemAvailable')];
    return Number.isNaN(total + available) ? undefined : { total, available };
  } catch {
    // No Linux, no such file.
    return undefined;
  }
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / 1024 ** 2)} MiB`;
}

/** Milliseconds between two questions to an engine that does not answer. */
const askEvery = 5000;

/** The memory of the engine's host, asked for until it is known. */
export function engineMemory(runtime: Pick<Runtime, 'engine'>): () => number | undefined {
  let known: number | undefined;
  let asked = Number.NEGATIVE_INFINITY;
  return () => {
    if (known === undefined && performance.now() - asked > askEvery) {
      asked = performance.now();
      detached(
        runtime.engine(AbortSignal.timeout(askEvery)).then(
          ({ memory }) => (known = memory),
          () => {},
        ),
      );
    }
    return known;
  };
}
