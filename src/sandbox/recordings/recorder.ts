import { mkdirSync } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../log.ts';
import { CastFile, type CastHeader } from './cast-file.ts';

export interface RecorderOptions {
  /** Absolute; made when missing. */
  readonly directory: string;
  /** Days; 0 = for ever. */
  readonly retention: number;
  /** Bytes of one recording. */
  readonly maxSize: number;
  /** Bytes of all; the oldest go first. */
  readonly maxTotal: number;
  readonly log: Logger;
}

const day = 86_400_000;
const sweepEvery = 3_600_000;

/** Keeps recordings: one file each, named by sandbox and time, until it is too old or there are too many. */
export class Recorder implements AsyncDisposable {
  readonly #options: RecorderOptions;
  readonly #open = new Set<CastFile>();
  readonly #closing = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #bytes = 0;
  #made = 0;
  #sweeping: Promise<void> | undefined;

  /** Throws when the directory cannot be made. */
  constructor(options: RecorderOptions) {
    this.#options = options;
    mkdirSync(options.directory, { recursive: true, mode: 0o700 });
    this.#timer = setInterval(() => void this.sweep(), sweepEvery).unref();
    void this.sweep();
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
    this.#bytes += count;
    if (this.#bytes > this.#options.maxTotal) void this.sweep();
  }

  async #sweep(): Promise<void> {
    const { directory, retention, maxTotal } = this.#options;
    const names = (await readdir(directory)).filter((name) => name.endsWith('.cast'));
    const files = await Promise.all(names.map((name) => fileOf(join(directory, name))));
    const byAge = files.filter((file) => file !== undefined).toSorted((a, b) => a.changed - b.changed);
    let total = byAge.reduce((sum, { size }) => sum + size, 0);
    for (const { path, size, changed } of byAge) {
      const old = retention > 0 && Date.now() - changed > retention * day;
      if (!old && total <= maxTotal) break;
      await rm(path, { force: true });
      total -= size;
    }
    this.#bytes = total;
  }
}

async function fileOf(path: string) {
  const facts = await stat(path).catch(() => undefined);
  return facts && { path, size: facts.size, changed: facts.mtimeMs };
}
