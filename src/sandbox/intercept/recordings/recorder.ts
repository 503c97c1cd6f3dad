import { mkdirSync } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { inLanes } from '../../../lib/lanes.ts';
import type { Logger } from '../../../log.ts';
import { CastFile, type CastHeader } from './cast-file.ts';
import { detached } from '../../../lib/detached.ts';

export interface RecorderOptions {
  /** Absolute; made when missing. */
  readonly directory: string;
  /** Days; 0 = for ever. */
  readonly retention: number;
  /** Bytes of one recording. */
  readonly maxSize: number;
  /** Bytes of all. Where there are more, the oldest go until a tenth is free: else each new byte would call for a sweep. */
  readonly maxTotal: number;
  readonly log: Logger;
}

const day = 86_400_000;
const sweepEvery = 3_600_000;
/** The part of all bytes that is free after there were too many. */
const spare = 0.1;
/** Files that a sweep looks at, or removes, at the same time. */
const atOnce = 32;

/** Keeps recordings: one file each, named by sandbox and time, until it is too old or there are too many. */
export class Recorder implements AsyncDisposable {
  readonly #options: RecorderOptions;
  readonly #open = new Set<CastFile>();
  readonly #closing = new AbortController();
  readonly #timer: NodeJS.Timeout;
  /** Bytes written since the last sweep began. */
  #unswept = 0;
  /** Bytes that may be written before the next one is due. */
  #room: number;
  #made = 0;
  #sweeping: Promise<void> | undefined;

  /** Throws when the directory cannot be made. */
  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#room = options.maxTotal * spare;
    mkdirSync(options.directory, { recursive: true, mode: 0o700 });
    this.#timer = setInterval(() => detached(this.sweep()), sweepEvery).unref();
    detached(this.sweep());
  }

  /** Aborts when the server lets go. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Begins a recording of a sandbox's command or terminal. */
  begin(handle: string, kind: 'command' | 'terminal', header: CastHeader): CastFile {
    const { directory, maxSize, log } = this.#options;
    const time = new Date().toISOString().replace(/[-:.]/g, '');
    this.#made += 1;
    const cast: CastFile = new CastFile({
      path: join(directory, `${handle}-${time}-${kind}-${this.#made}.cast`),
      header,
      maxSize,
      onBytes: (count) => this.#written(count),
      onError: (err) => log.error({ event: 'recording.failed', sandbox: handle, err }),
    });
    this.#open.add(cast);
    return cast;
  }

  async end(cast: CastFile, mark: string): Promise<void> {
    await cast.close(mark);
    this.#open.delete(cast);
  }

  /** Removes what is too old, and the oldest where there is too much. Never rejects. */
  sweep(): Promise<void> {
    this.#sweeping ??= this.#sweep()
      .catch((err: unknown) => this.#options.log.warn({ event: 'recordings.sweep_failed', err }))
      .finally(() => (this.#sweeping = undefined));
    return this.#sweeping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort();
    await Promise.all([...this.#open].map((cast) => this.end(cast, 'the server stopped')));
    await this.#sweeping;
  }

  #written(count: number): void {
    this.#unswept += count;
    if (this.#unswept > this.#room) detached(this.sweep());
  }

  async #sweep(): Promise<void> {
    const { directory, retention, maxTotal } = this.#options;
    const free = maxTotal * spare;
    this.#unswept = 0;
    // For a sweep that fails: the next byte is no reason to try again.
    this.#room = free;
    const files = await recordingsIn(directory);
    const since = retention > 0 ? Date.now() - retention * day : 0;
    const { old = [], young = [] } = Object.groupBy(this.#ended(files), ({ changed }) =>
      changed < since ? 'old' : 'young',
    );
    const kept = sizeOf(files) - sizeOf(old);
    const tooMuch = kept > maxTotal;
    const surplus = tooMuch ? oldest(young, kept - (maxTotal - free)) : [];
    await inLanes(atOnce, [...old, ...surplus], ({ path }) => rm(path, { force: true }));
    this.#room = tooMuch ? free : maxTotal - kept;
  }

  /** Without those that go on: a file that loses its name while it is written takes its room unseen. */
  #ended(files: readonly Recording[]): Recording[] {
    const live = new Set([...this.#open].map(({ path }) => path));
    return files.filter(({ path }) => !live.has(path));
  }
}

interface Recording {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly changed: number;
}

async function recordingsIn(directory: string): Promise<Recording[]> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.cast'));
  const found = await inLanes(atOnce, names, (name) => recordingAt(join(directory, name)));
  return found.filter((file) => file !== undefined);
}

async function recordingAt(path: string): Promise<Recording | undefined> {
  const facts = await stat(path).catch(() => undefined);
  return facts && { path, size: facts.size, changed: facts.mtimeMs };
}

const sizeOf = (files: readonly Recording[]): number => files.reduce((sum, { size }) => sum + size, 0);

/** As many of the oldest as hold so many bytes together. */
function oldest(files: readonly Recording[], bytes: number): Recording[] {
  let left = bytes;
  const byAge = files.toSorted((a, b) => a.changed - b.changed);
  return byAge.filter(({ size }) => {
    const wanted = left > 0;
    left -= size;
    return wanted;
  });
}
