import { createWriteStream, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Writable } from 'node:stream';
import { AppError } from '../errors.ts';
import { SetupError } from './error.ts';

/** One step under way. */
export interface Step {
  /** What it is doing at the moment, in a few words. */
  detail(text: string): void;
  /** Raw output, for the set-up's log only. */
  readonly log: Writable;
  /** Aborts when the person wants to stop. */
  readonly signal: AbortSignal;
}

export interface ProgressOptions {
  readonly out?: NodeJS.WriteStream;
  readonly signal?: AbortSignal;
}

/**
 * Tells a person what takes long: a step shorter than 400 ms stays silent. On a terminal the line is redrawn; elsewhere
 * a line is added every ten seconds.
 */
export class Progress implements AsyncDisposable {
  readonly logFile: string;
  readonly #out: NodeJS.WriteStream;
  readonly #log: Writable;
  readonly #signal: AbortSignal;

  constructor(logFile: string, { out = process.stderr, signal = new AbortController().signal }: ProgressOptions = {}) {
    this.logFile = logFile;
    this.#out = out;
    this.#signal = signal;
    this.#log = createWriteStream(logFile, { fd: openLog(logFile) });
  }

  async step<T>(title: string, work: (step: Step) => Promise<T>): Promise<T> {
    this.#signal.throwIfAborted();
    this.#log.write(`\n== ${new Date().toISOString()} ${title}\n`);
    using display = new Display(title, this.#out);
    const step = { detail: (text: string) => void (display.detail = text), log: this.#log, signal: this.#signal };
    const result = await work(step).catch((error: unknown) => this.#fail(title, error));
    display.done();
    return result;
  }

  /** A line that stays on the screen. */
  note(text: string): void {
    this.#log.write(`${text}\n`);
    this.#out.write(`${text}\n`);
  }

  #fail(title: string, error: unknown): never {
    this.#log.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    if (this.#signal.aborted || error instanceof SetupError || error instanceof AppError) throw error;
    const why = error instanceof Error ? error.message.trim() : String(error);
    throw new SetupError(`${title} failed: ${why}\nThe log says more: ${this.logFile}`, { cause: error });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#log.end(resolve));
  }
}

/** Opened at once: a stream that opens by itself tells of a file it cannot write by an event that nobody awaits. */
function openLog(file: string): number {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    return openSync(file, 'a', 0o600);
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new SetupError(`The set-up's log ${file} cannot be written (${why}); let this user write there.`, { cause });
  }
}

class Display implements Disposable {
  detail = '';
  readonly #title: string;
  readonly #out: NodeJS.WriteStream;
  readonly #started = performance.now();
  readonly #ticker: NodeJS.Timeout;
  #drawn = -Infinity;

  constructor(title: string, out: NodeJS.WriteStream) {
    this.#title = title;
    this.#out = out;
    this.#ticker = setInterval(() => this.#tick(), 400);
  }

  #tick(): void {
    if (!this.#out.isTTY && performance.now() - this.#drawn < 10_000) return;
    this.#drawn = performance.now();
    this.#draw(`· ${this.#line()} …`);
  }

  #line(): string {
    const seconds = Math.round((performance.now() - this.#started) / 1000);
    const time = seconds > 0 ? ` (${seconds} s)` : '';
    return `${this.#title}${time}${this.detail ? `: ${this.detail}` : ''}`;
  }

  #draw(line: string, end = ''): void {
    if (!this.#out.isTTY) return void this.#out.write(`${line}\n`);
    this.#out.write(`\r\x1b[2K${line.slice(0, (this.#out.columns || 80) - 1)}${end}`);
  }

  done(): void {
    this.detail = '';
    this.#end('✓');
  }

  /** A step that was not done has failed. */
  [Symbol.dispose](): void {
    this.#end('✗');
  }

  #end(mark: string): void {
    clearInterval(this.#ticker);
    if (Number.isFinite(this.#drawn)) this.#draw(`${mark} ${this.#line()}`, '\n');
    this.#drawn = -Infinity;
  }
}
