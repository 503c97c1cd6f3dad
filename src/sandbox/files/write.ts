import { createHash, type Hash } from 'node:crypto';
import { AppError } from '../../errors.ts';
import { parseFacts } from './facts.ts';
import { newMark } from './open.ts';
import { ScriptRun, type ScriptHost } from './run.ts';
import { scripts } from './script.ts';
import { sendAll } from './send.ts';
import { shown } from './paths.ts';
import type { WriteOptions, WrittenFile } from '../ports/workspace.ts';

const trailerLength = 32 + 1 + 19;

/** Writes a whole file, or nothing: the script renames its temporary file only behind a trailer with the right size. */
export async function writeFile(
  host: ScriptHost,
  target: string,
  path: string,
  body: ReadableStream<Uint8Array>,
  options: WriteOptions,
): Promise<WrittenFile> {
  const mark = newMark();
  const mode = options.mode === undefined ? '' : (options.mode & 0o777).toString(8);
  const args = [target, mode, String(trailerLength), mark, options.unchanged ?? ''];
  const source = body.getReader();
  try {
    await using run = await ScriptRun.start(host, { script: scripts.write, args, path, signal: options.signal });
    const meter = new Meter(path, options);
    const line = await sendAll(run, source, withTrailer(source, meter, mark), run.head());
    const { stat, tag } = parseFacts(target, line.slice(0, -2));
    if (stat.size !== meter.size) throw new AppError('conflict', `${shown(path)} was changed by another writer.`);
    return { path: target, size: meter.size, sha256: meter.digest(), tag, created: line.endsWith(' 1') };
  } finally {
    await source.cancel().catch(() => {});
  }
}

async function* withTrailer(
  source: ReadableStreamDefaultReader<Uint8Array>,
  meter: Meter,
  mark: string,
): AsyncGenerator<Uint8Array> {
  for (let next = await source.read(); !next.done; next = await source.read()) {
    meter.take(next.value);
    yield next.value;
  }
  meter.end();
  yield Buffer.from(`${mark} ${String(meter.size).padStart(19, '0')}`);
}

/** Counts and digests what passes, and holds it to what was promised. */
class Meter {
  size = 0;
  readonly #path: string;
  readonly #options: WriteOptions;
  readonly #hash: Hash = createHash('sha256');
  #digest = '';

  constructor(path: string, options: WriteOptions) {
    this.#path = shown(path);
    this.#options = options;
  }

  take(bytes: Uint8Array): void {
    this.size += bytes.length;
    const { limit = Infinity, size = Infinity } = this.#options;
    if (this.size > limit) {
      throw new AppError(
        'too_large',
        `The content for ${this.#path} must be at most ${limit} bytes; nothing was kept.`,
      );
    }
    if (this.size > size) throw this.#wrongSize(`more than ${size}`);
    this.#hash.update(bytes);
  }

  end(): void {
    const { size = this.size, sha256 } = this.#options;
    if (this.size < size) throw this.#wrongSize(String(this.size));
    if (sha256 !== undefined && sha256.toLowerCase() !== this.digest()) {
      throw new AppError(
        'invalid_argument',
        `The content for ${this.#path} has SHA-256 ${this.digest()}, not ${sha256}; nothing was kept.`,
      );
    }
  }

  digest(): string {
    this.#digest ||= this.#hash.digest('hex');
    return this.#digest;
  }

  #wrongSize(came: string): AppError {
    const expected = this.#options.size;
    return new AppError(
      'invalid_argument',
      `The content for ${this.#path} must have ${expected} bytes; ${came} came and nothing was kept.`,
    );
  }
}
