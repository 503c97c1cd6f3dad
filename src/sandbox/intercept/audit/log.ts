import {
  closeSync,
  createReadStream,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
} from 'node:fs';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import type { Logger } from '../../../log.ts';
import {
  chainLine,
  chainStart,
  readLine,
  verifyAudit,
  type AuditFields,
  type AuditVerdict,
  type ChainEnd,
} from './chain.ts';

/** Takes audit events. Resolves once the line is written, so that a caller's answer never outruns its audit line. */
export interface AuditSink {
  write(fields: AuditFields): Promise<void>;
}

export interface AuditLogOptions {
  /** Absolute path; absent: no file. Rotated files are `<file>.1` (the newest) and on. */
  readonly file?: string;
  /** Bytes at which the file is rotated. */
  readonly maxSize: number;
  /** Rotated files to keep. */
  readonly keep: number;
  /** Also gets each line with its line feed. */
  readonly copy?: (line: string) => void;
  readonly log: Logger;
}

/**
 * The hash-chained audit log: one JSON line per event, one after another, over restarts and rotations.
 * A line that cannot be written is logged and counted; the next one that can be written says how many are missing.
 */
export class AuditLog implements AuditSink, AsyncDisposable {
  readonly #options: AuditLogOptions;
  #end: ChainEnd;
  #handle: Promise<FileHandle> | undefined;
  #size = 0;
  #lost = 0;
  #queue: Promise<void> = Promise.resolve();

  /** Throws when the file's directory can't be made or the file can't be read and written. */
  constructor(options: AuditLogOptions) {
    this.#options = options;
    this.#end = options.file === undefined ? chainStart : lastOf(options.file);
  }

  write(fields: AuditFields): Promise<void> {
    const time = new Date().toISOString();
    this.#queue = this.#queue.then(() => this.#append({ time, ...fields }));
    return this.#queue;
  }

  /** Goes on in the file that has the name now, as after somebody has moved the old one. Resolves when it may be read. */
  reopen(): Promise<void> {
    this.#queue = this.#queue.then(() => this.#close());
    return this.#queue;
  }

  async #close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await (await handle)?.close().catch((err: unknown) => this.#options.log.warn({ event: 'audit.close_failed', err }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue;
    await (await this.#handle)?.close();
    this.#handle = undefined;
  }

  async #append(fields: AuditFields): Promise<void> {
    try {
      if (this.#lost > 0) await this.#put({ time: fields['time'], event: 'audit.lost', lines: this.#lost });
      this.#lost = 0;
      await this.#put(fields);
    } catch (err) {
      this.#lost += 1;
      if (this.#lost === 1) this.#options.log.error({ event: 'audit.write_failed', err }, 'audit lines are being lost');
    }
  }

  async #put(fields: AuditFields): Promise<void> {
    const { line, end } = chainLine(fields, this.#end);
    const bytes = Buffer.from(`${line}\n`);
    await this.#toFile(bytes);
    this.#options.copy?.(`${line}\n`);
    this.#end = end;
  }

  async #toFile(bytes: Buffer): Promise<void> {
    if (this.#options.file === undefined) return;
    const handle = await this.#opened(this.#options.file);
    if (this.#size > 0 && this.#size + bytes.length > this.#options.maxSize) return this.#toNextFile(bytes);
    try {
      await handle.appendFile(bytes);
      this.#size += bytes.length;
    } catch (error) {
      await handle.truncate(this.#size).catch(() => {});
      throw error;
    }
  }

  async #toNextFile(bytes: Buffer): Promise<void> {
    const { file = '', keep } = this.#options;
    await (await this.#handle)?.close();
    this.#handle = undefined;
    await rm(`${file}.${keep}`, { force: true });
    for (let number = keep - 1; number >= 0; number -= 1) await moved(rotated(file, number), rotated(file, number + 1));
    await this.#toFile(bytes);
  }

  /** A failed opening is tried again by the next line. */
  #opened(file: string): Promise<FileHandle> {
    this.#handle ??= this.#openFile(file).catch((error: unknown) => {
      this.#handle = undefined;
      throw error;
    });
    return this.#handle;
  }

  async #openFile(file: string): Promise<FileHandle> {
    const handle = await open(file, 'a', 0o600);
    this.#size = (await handle.stat()).size;
    return handle;
  }
}

const rotated = (file: string, number: number): string => (number === 0 ? file : `${file}.${number}`);

async function moved(from: string, to: string): Promise<void> {
  await rename(from, to).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}

/** The end of the chain in the file, or in the one rotated last; half a line at the end, left by a crash, is cut off. */
function lastOf(file: string): ChainEnd {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  return lastIn(file, 'a+') ?? (existsSync(`${file}.1`) ? lastIn(`${file}.1`, 'r+') : undefined) ?? chainStart;
}

/** No line is longer. */
const longestLine = 1024 * 1024;

function lastIn(file: string, flags: 'a+' | 'r+'): ChainEnd | undefined {
  const fd = openSync(file, flags, 0o600);
  try {
    const { size } = fstatSync(fd);
    const from = Math.max(0, size - longestLine);
    const text = Buffer.alloc(size - from);
    readSync(fd, text, 0, text.length, from);
    const whole = text.lastIndexOf(0x0a) + 1;
    if (whole < text.length) ftruncateSync(fd, from + whole);
    const lines = text.subarray(0, whole).toString('utf8').trimEnd().split('\n');
    return readLine(lines.at(-1) ?? '');
  } finally {
    closeSync(fd);
  }
}

/** Checks the file with those rotated before it, oldest first. Rejects when there is no file. */
export function verifyAuditFiles(file: string): Promise<AuditVerdict> {
  return verifyAudit(Readable.from(bytesOf(file)));
}

async function* bytesOf(file: string): AsyncGenerator<Buffer> {
  for (let number = countRotated(file); number >= 0; number -= 1) {
    yield* createReadStream(rotated(file, number)) as AsyncIterable<Buffer>;
  }
}

function countRotated(file: string): number {
  let count = 0;
  while (existsSync(rotated(file, count + 1))) count += 1;
  return count;
}
