import type { Extract, Header } from 'tar-stream';
import { AppError } from '../../errors.ts';
import { shown } from './paths.ts';
import { tarReader } from './tar-reader.ts';
import { tarEnd, tarHeader, tarPadding, type TarEntry } from './tar.ts';
import { detached } from '../../lib/detached.ts';

export interface TarLimits {
  readonly entries: number;
  /** Bytes of all files together. */
  readonly bytes: number;
  /** Bytes of all names and link targets together: they are remembered. */
  readonly names: number;
}

export interface Unpacked {
  /** Entries that are not directories. */
  files: number;
  bytes: number;
  /** Names of what has no content and is left out, FIFOs: the first of them, where there are any. */
  skipped?: string[];
}

/** Names told of what is left out. */
const mostSkipped = 100;

type ByteSource = ReadableStreamDefaultReader<Uint8Array>;

interface Job {
  /** The target directory as the caller gave it. */
  readonly path: string;
  /** The name of an empty file put last, which tells that the archive came whole. */
  readonly mark: string;
  readonly limits: TarLimits;
  readonly totals: Unpacked;
}

/**
 * The archive written anew, entry by entry: names inside the target, files, directories and links only, no owners, no
 * special bits. Symbolic links come last, so that no entry is written through one. Rejects with a sentence otherwise.
 */
export async function* sanitizedTar(source: ByteSource, job: Job): AsyncGenerator<Uint8Array> {
  const check = new TarCheck(job);
  const unpacker = tarReader();
  detached(feed(source, unpacker));
  try {
    for await (const entry of unpacker) {
      const clean = check.take(entry.header);
      if (clean !== null) yield tarHeader(clean);
      // A directory may come with a size, of which the reader's stream never ends.
      if (clean?.type !== 'file') {
        entry.resume();
        continue;
      }
      yield* entry as AsyncIterable<Uint8Array>;
      yield tarPadding(clean.size);
    }
  } catch (error) {
    throw error instanceof AppError ? error : brokenTar(job.path, error);
  } finally {
    unpacker.destroy();
  }
  for (const link of check.links()) yield tarHeader(link);
  yield tarHeader({ name: job.mark, type: 'file', size: 0, mode: 0o600, mtime: 0 });
  yield tarEnd;
}

/** Gives a tar's bytes to its reader; a fault of the source is the reader's. */
export async function feed(source: ByteSource, unpacker: Extract): Promise<void> {
  try {
    for (let first = true; ; first = false) {
      const { done, value } = await source.read();
      if (first) checkStart(value);
      if (done) return void unpacker.end(undefined);
      if (unpacker.destroyed) return;
      if (!unpacker.write(Buffer.from(value.buffer, value.byteOffset, value.byteLength))) await writable(unpacker);
    }
  } catch (error) {
    unpacker.destroy(error as Error);
  }
}

function checkStart(bytes: Uint8Array | undefined): void {
  if (bytes === undefined) throw new Error('no bytes came');
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return;
  throw new AppError('invalid_argument', 'The archive must be a plain tar; a gzip-compressed one came.');
}

/** Resolves when the unpacker takes more, or is destroyed. */
function writable(unpacker: Extract): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const settle = () => {
    unpacker.off('drain', settle);
    unpacker.off('close', settle);
    resolve();
  };
  unpacker.once('drain', settle);
  unpacker.once('close', settle);
  return promise;
}

class TarCheck {
  readonly #job: Job;
  readonly #links = new Map<string, TarEntry>();
  readonly #files = new Set<string>();
  #entries = 0;
  #names = 0;

  constructor(job: Job) {
    this.#job = job;
  }

  /** The entry as it is to be written, or `null` for one that is not (yet). */
  take(raw: Header): TarEntry | null {
    const header = legible(raw);
    const name = this.#nameOf(header);
    this.#count(header);
    if (name === '') return null;
    if (header.type === 'fifo') return this.#skip(name);
    this.#links.delete(name);
    const entry = this.#entryOf(header, name);
    if (entry.type !== 'directory') this.#job.totals.files += 1;
    if (entry.type === 'file') this.#files.add(name);
    if (entry.type !== 'symlink') return entry;
    this.#links.set(name, entry);
    return null;
  }

  links(): Iterable<TarEntry> {
    return this.#links.values();
  }

  #skip(name: string): null {
    const { totals } = this.#job;
    totals.skipped ??= [];
    if (totals.skipped.length < mostSkipped) totals.skipped.push(name);
    return null;
  }

  #entryOf(header: Header, name: string): TarEntry {
    const mode = header.mode & 0o777;
    const mtime = Math.min(Math.max(0, Math.floor(header.mtime.getTime() / 1000)), 2 ** 33);
    const common = { name, mode, mtime, size: 0 };
    switch (header.type) {
      case 'file':
      case 'contiguous-file':
        return { ...common, type: 'file', size: header.size };
      case 'directory':
        return { ...common, type: 'directory', mode: mode | 0o700 };
      case 'symlink':
        return { ...common, type: 'symlink', target: targetOf(header) };
      case 'link':
        return { ...common, type: 'link', target: this.#linkedFile(header, name) };
      default:
        throw refused(name, 'is neither a file nor a directory nor a link');
    }
  }

  #linkedFile(header: Header, name: string): string {
    const target = inside(targetOf(header));
    if (target === null || !this.#files.has(target))
      throw refused(name, 'is a link to no file before it in the archive');
    return target;
  }

  #nameOf(header: Header): string {
    const name = inside(header.name);
    if (name === null) throw refused(header.name, 'has a name outside the target directory');
    for (let at = name.indexOf('/'); at >= 0; at = name.indexOf('/', at + 1)) {
      if (this.#links.has(name.slice(0, at))) throw refused(header.name, 'would be written through a symbolic link');
    }
    return name;
  }

  #count(header: Header): void {
    const { limits, totals } = this.#job;
    totals.bytes += header.type === 'directory' ? 0 : header.size;
    this.#entries += 1;
    this.#names += Buffer.byteLength(header.name) + Buffer.byteLength(header.linkname ?? '');
    if (totals.bytes > limits.bytes) throw tooLarge(`${limits.bytes} bytes in its files`);
    if (this.#entries > limits.entries) throw tooLarge(`${limits.entries} entries`);
    if (this.#names > limits.names) throw tooLarge(`${limits.names} bytes in its names`);
  }
}

/** The header with its names as text. Two names that are not UTF-8 would become one, with both replaced by marks. */
export function legible(raw: Header): Header {
  const names = { name: textOf(raw.name), linkname: textOf(raw.linkname ?? '') };
  for (const [bytes, name] of [
    [raw.name, names.name],
    [raw.linkname ?? '', names.linkname],
  ] as const) {
    if (Buffer.from(name).equals(Buffer.from(bytes, 'latin1'))) continue;
    throw refused(names.name, 'has a name or a link target that is not UTF-8');
  }
  const sparse = Object.keys(raw.pax ?? {}).some((key) => key.startsWith('GNU.sparse.'));
  if (sparse) throw refused(names.name, 'is a file with its holes left out, as tar -S writes it');
  return { ...raw, ...names };
}

function textOf(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/** A relative name without `.` parts, or `null` for one that leaves the directory. */
export function inside(name: string): string | null {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  return name.startsWith('/') || parts.includes('..') || name.includes('\0') ? null : parts.join('/');
}

/** Of a link with a size, readers disagree whether bytes of its own follow or the next entry does. */
function targetOf(header: Header): string {
  if (header.size > 0) throw refused(header.name, 'is a link with content of its own');
  const target = header.linkname ?? '';
  if (target === '' || target.length > 4095 || target.includes('\0'))
    throw refused(header.name, 'is a link to nowhere');
  return target;
}

function refused(name: string, why: string): AppError {
  return new AppError('invalid_argument', `The archive's entry ${shown(name)} ${why}; nothing was unpacked.`);
}

function tooLarge(limit: string): AppError {
  return new AppError('too_large', `The archive must have at most ${limit}; nothing was unpacked.`);
}

export function brokenTar(path: string, cause: unknown): AppError {
  const message = `The archive for ${shown(path)} is not a whole, plain tar; nothing was unpacked.`;
  return new AppError('invalid_argument', message, { cause });
}
