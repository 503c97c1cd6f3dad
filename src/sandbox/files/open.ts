import { randomBytes } from 'node:crypto';
import { AppError } from '../../errors.ts';
import { parseFacts, type Facts } from './facts.ts';
import { scriptFailure } from './failure.ts';
import { ScriptRun, type ScriptHost } from './run.ts';
import { scripts } from './script.ts';
import { markedStream } from './stream.ts';
import { shown } from './paths.ts';
import type { FileStat, OpenFile } from '../ports/workspace.ts';

/** Opens what `target` leads to; `path` is how the caller calls it. */
export async function openFile(
  host: ScriptHost,
  target: string,
  path: string,
  signal: AbortSignal | undefined,
): Promise<OpenFile> {
  const mark = newMark();
  const run = await ScriptRun.start(host, { script: scripts.read, args: [target, mark], path, signal });
  try {
    const [line, unsized] = (await run.head(host.deadline)).split(/(?= unsized$)/);
    return new OpenScript(run, { path, mark, facts: parseFacts(target, line!), sized: unsized === undefined });
  } catch (error) {
    await run[Symbol.asyncDispose]();
    throw error;
  }
}

/** Bytes that no file holds by chance. */
export function newMark(): string {
  return randomBytes(16).toString('hex');
}

interface Opened {
  readonly path: string;
  readonly mark: string;
  readonly facts: Facts;
  /** False for a file that the kernel makes as it is read: nobody knows its size. */
  readonly sized: boolean;
}

class OpenScript implements OpenFile {
  readonly stat: FileStat;
  readonly tag: string;
  readonly #run: ScriptRun;
  readonly #mark: string;
  readonly #path: string;
  readonly #sized: boolean;

  constructor(run: ScriptRun, { path, mark, facts, sized }: Opened) {
    this.#run = run;
    this.#mark = mark;
    this.#path = path;
    this.#sized = sized;
    this.stat = facts.stat;
    this.tag = facts.tag;
  }

  /** Of a file without a size, at most the `length` that must be given: it may end sooner. */
  read(range: { offset?: number; length?: number } = {}): ReadableStream<Uint8Array> {
    const { type, size } = this.stat;
    const path = this.#path;
    if (type !== 'file') throw scriptFailure(type === 'directory' ? 'is_directory' : 'special', path, '');
    if (!this.#sized) return this.#readUnsized(range.offset ?? 0, range.length);
    const offset = Math.min(range.offset ?? 0, size);
    const rest = size - offset;
    const length = Math.min(range.length ?? rest, rest);
    this.#ask(`${offset} ${length < rest ? length : ''}`);
    const short = () => new AppError('conflict', `${shown(path)} was cut short while it was read.`);
    return markedStream(this.#run, this.#mark, { length, onEnd: short });
  }

  #readUnsized(offset: number, length: number | undefined): ReadableStream<Uint8Array> {
    if (length === undefined) throw noSize(this.#path);
    this.#ask(`${offset} ${length}`);
    const failed = () => new AppError('conflict', `${shown(this.#path)} could not be read to its end.`);
    return markedStream(this.#run, this.#mark, { onEnd: (exitCode) => (exitCode === 0 ? undefined : failed()) });
  }

  #ask(range: string): void {
    this.#run.input.write(Buffer.from(`${range}\n`)).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#run[Symbol.asyncDispose]();
  }
}

function noSize(path: string): AppError {
  const message = `${shown(path)} has no size: the kernel makes it as it is read. Read it with execute_command and cat.`;
  return new AppError('conflict', message);
}
