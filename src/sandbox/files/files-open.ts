import { randomBytes } from 'node:crypto';
import { AppError } from '../../errors.ts';
import { parseFacts, type Facts } from './files-facts.ts';
import { scriptFailure } from './files-failure.ts';
import { ScriptRun, type ScriptHost } from './files-run.ts';
import { scripts } from './files-script.ts';
import { markedStream } from './files-stream.ts';
import { shown } from './paths.ts';
import type { FileStat, OpenFile } from '../workspace.ts';

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
    return new OpenScript(run, { path, mark, facts: parseFacts(target, await run.head(host.deadline)) });
  } catch (error) {
    await run[Symbol.asyncDispose]();
    throw error;
  }
}

/** Bytes that no file holds by chance. */
export function newMark(): string {
  return randomBytes(16).toString('hex');
}

class OpenScript implements OpenFile {
  readonly stat: FileStat;
  readonly tag: string;
  readonly #run: ScriptRun;
  readonly #mark: string;
  readonly #path: string;

  constructor(run: ScriptRun, { path, mark, facts }: { path: string; mark: string; facts: Facts }) {
    this.#run = run;
    this.#mark = mark;
    this.#path = path;
    this.stat = facts.stat;
    this.tag = facts.tag;
  }

  read(range: { offset?: number; length?: number } = {}): ReadableStream<Uint8Array> {
    const { type, size } = this.stat;
    const path = this.#path;
    if (type !== 'file') throw scriptFailure(type === 'directory' ? 'is_directory' : 'special', path, '');
    const offset = Math.min(range.offset ?? 0, size);
    const rest = size - offset;
    const length = Math.min(range.length ?? rest, rest);
    this.#run.input.write(Buffer.from(`${offset} ${length < rest ? length : ''}\n`)).catch(() => {});
    const short = () => new AppError('conflict', `${shown(path)} was cut short while it was read.`);
    return markedStream(this.#run, this.#mark, { length, onEnd: short });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#run[Symbol.asyncDispose]();
  }
}
