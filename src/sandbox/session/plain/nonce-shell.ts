import { randomBytes } from 'node:crypto';
import { AppError } from '../../../errors.ts';
import type { Stream } from '../wire/frame.ts';
import type { LiveFrame } from '../wire/host-link.ts';
import type { SignalName, SignalScope } from '../wire/request.ts';
import type { Container, Process } from '../../ports/runtime.ts';
import { Timers } from '../../../lib/timers.ts';
import { heldByOthers } from './holders.ts';
import { strike } from './kill.ts';
import { MarkedStream } from './marked-stream.ts';
import { Outflow } from './outflow.ts';
import { commandLines, reportLine, keeperScript, openingLines, withoutTextName, type Dialect } from './shell-text.ts';
import { detached } from '../../../lib/detached.ts';

export interface NonceShellOptions {
  readonly container: Container;
  /** Path of the shell; `/bin/sh` takes the place of a missing one. */
  readonly shell: string;
  readonly cwd: string;
  readonly emit: (frame: LiveFrame) => void;
}

const startTimeout = 10_000;

/** A command in this shell. */
interface Run {
  readonly channel: number;
  readonly out: readonly [Outflow, Outflow];
  /** What makes the shell report the command's end. */
  readonly report: Buffer;
  readonly ends: [number | undefined, number | undefined];
  begun: boolean;
  code: number;
  cwd: string;
  /** Processes it left behind. */
  left: readonly number[];
}

/**
 * A shell behind one exec that stays. Commands are fed to its stdin, and a 96-bit nonce that they can't know marks on
 * both streams where one begins and ends. What background processes write meanwhile belongs to whichever runs.
 */
export class NonceShell implements AsyncDisposable {
  readonly #options: NonceShellOptions;
  readonly #process: Process;
  readonly #nonce: string;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #ready = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  readonly #died: [boolean, boolean] = [false, false];
  #pid = 0;
  #keeper = 0;
  #dialect: Dialect = 'sh';
  #code = 137;
  #cwd: string;
  #current: Run | undefined;
  /** By stream: whose output comes. */
  readonly #source: [Run | undefined, Run | undefined] = [undefined, undefined];
  readonly #runs = new Map<number, Run>();
  #jobs: readonly number[] = [];
  /** Settles when the last signal asked for has been sent; the next command must not be there before. */
  #striking: Promise<unknown> = Promise.resolve();

  private constructor(options: NonceShellOptions, process: Process, nonce: string) {
    this.#options = options;
    this.#process = process;
    this.#nonce = nonce;
    this.#cwd = options.cwd;
    this.#writer = process.stdin.getWriter();
    this.#writer.closed.catch(() => {});
    this.#ready.promise.catch(() => {});
    detached(this.#pump(0, process.stdout));
    detached(this.#pump(1, process.stderr));
  }

  /** Rejects `unsupported` when the image has no shell that starts. */
  static async start(options: NonceShellOptions): Promise<NonceShell> {
    const argv = ['/bin/sh', '-c', keeperScript, 'sh', options.shell, options.cwd];
    const process = await options.container.exec(argv, { cwd: '/' });
    const nonce = randomBytes(12).toString('hex');
    const shell = new NonceShell(options, process, nonce);
    shell.#write(Buffer.from(openingLines(nonce)));
    using timers = new Timers();
    await Promise.race([shell.#ready.promise, shell.#ended.promise, timers.after(startTimeout)]);
    if (shell.#pid > 0) return shell;
    await process[Symbol.asyncDispose]();
    throw new AppError('unsupported', 'The image of the sandbox has no shell that starts.');
  }

  get cwd(): string {
    return this.#cwd;
  }

  /** Resolves when the shell is gone and its last command was told of. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  run(command: { channel: number; status: number; window: number; text: Buffer }): void {
    const { channel, window } = command;
    const outflow = (stream: Stream) =>
      new Outflow(window, (offset, bytes) => this.#options.emit({ type: 'data', channel, stream, offset, bytes }));
    const out = [outflow(0), outflow(1)] as const;
    const full = { ...command, dialect: this.#dialect, nonce: this.#nonce, keeper: this.#keeper };
    const report = Buffer.from(reportLine(full));
    this.#current = { channel, out, report, ends: [undefined, undefined], begun: false, code: -1, cwd: '', left: [] };
    this.#runs.set(channel, this.#current);
    if (this.#died[0] && this.#died[1]) return this.#done(this.#current, 'not_run', false);
    this.#write(commandLines(full));
  }

  credit(channel: number, stream: Stream, limit: number): void {
    this.#runs.get(channel)?.out[stream].credit(limit);
  }

  forget(channel: number): void {
    for (const out of this.#runs.get(channel)?.out ?? []) out.close();
    this.#runs.delete(channel);
  }

  /** For an ended command: what it left behind. For the running one: all below the shell but earlier commands' jobs. */
  async signal(channel: number, signals: readonly { name: SignalName; scope: SignalScope }[]): Promise<void> {
    const run = this.#runs.get(channel);
    const running = run !== undefined && this.#isRunning(run);
    if (!run || (!running && run.left.length === 0)) return;
    const asked = running ? signals : signals.filter(({ scope }) => scope !== 'first');
    const target = running ? { spare: this.#jobs } : { only: run.left };
    const strikes = asked.map(({ name, scope }) => ({ name, scope: scope === 'first' ? 'self' : 'below' }) as const);
    const sent = strike(this.#options.container, { pid: this.#pid, ...target }, strikes);
    if (running) this.#striking = Promise.allSettled([this.#striking, sent]);
    await sent;
    // Shells other than bash drop on INT what they have read ahead: the line that reports the end is among it.
    if (running && this.#dialect === 'sh' && this.#isRunning(run)) this.#write(run.report);
  }

  /** The shell has not reported its end, even where that is not told yet. */
  #isRunning(run: Run): boolean {
    return run === this.#current && run.ends.includes(undefined);
  }

  /** Ends the shell and all it started. */
  async kill(): Promise<void> {
    const { container } = this.#options;
    const strikes = [{ name: 'KILL', scope: 'below' } as const, { name: 'KILL', scope: 'self' } as const];
    await strike(container, { pid: this.#pid }, strikes);
  }

  #write(bytes: Uint8Array): void {
    // A shell that is gone is told of by its streams.
    this.#writer.write(bytes).catch(() => {});
  }

  async #pump(stream: Stream, from: ReadableStream<Uint8Array>): Promise<void> {
    const marked = new MarkedStream(this.#nonce);
    try {
      for await (const chunk of from) {
        for (const piece of marked.push(chunk)) {
          if ('mark' in piece) this.#mark(stream, piece.mark);
          else await this.#source[stream]?.out[stream].write(stream === 1 ? withoutTextName(piece.bytes) : piece.bytes);
        }
      }
    } catch {
      // The container or the connection is gone; the shell is, either way.
    }
    this.#diedOn(stream);
  }

  #mark(stream: Stream, mark: string): void {
    const [, kind, rest = ''] = /^(\w+) ?([^]*)$/.exec(mark) ?? [];
    if (kind === 'ready') this.#isReady(rest);
    if (kind === 'begin') this.#begin(stream);
    if (kind === 'end') this.#end(stream, rest);
    if (kind !== 'died') return;
    if (stream === 0) this.#code = Number(rest);
    this.#diedOn(stream);
  }

  #isReady(text: string): void {
    const [pid, keeper, dialect] = text.split(' ');
    [this.#pid, this.#keeper, this.#dialect] = [Number(pid), Number(keeper), dialect === 'bash' ? 'bash' : 'sh'];
    this.#ready.resolve();
  }

  #begin(stream: Stream): void {
    const run = this.#current;
    if (!run) return;
    this.#close(stream);
    run.begun = true;
    this.#source[stream] = run;
  }

  #end(stream: Stream, text: string): void {
    const run = this.#current;
    if (!run || run.channel !== Number.parseInt(text) || run.ends[stream] !== undefined) return;
    run.ends[stream] = run.out[stream].sent;
    if (stream === 0) this.#report(run, text);
    if (run.ends[0] !== undefined && run.ends[1] !== undefined) detached(this.#reported(run));
  }

  /** Told only when no signal for the run is on its way: it would reach the next command, or the shell under it. */
  async #reported(run: Run): Promise<void> {
    const { container } = this.#options;
    await this.#striking;
    const open = run.left.length > 0 && (await heldByOthers(container, this.#keeper).catch(() => false));
    if (run === this.#current) this.#done(run, 'reported', open);
  }

  /** `CHANNEL CODE ` and the shell's jobs, a line each, before its directory. */
  #report(run: Run, text: string): void {
    const [, code, jobs = '', cwd = ''] = /^\d+ (\d+) ((?:\d+\n)*)([^]*)$/.exec(text) ?? [];
    const now = jobs.split('\n').slice(0, -1).map(Number);
    run.left = now.filter((pid) => !this.#jobs.includes(pid));
    this.#jobs = now;
    run.code = Number(code ?? -1);
    run.cwd = this.#cwd = cwd || this.#cwd;
  }

  /** `open`: processes it left hold its streams. */
  #done(run: Run, how: 'reported' | 'shell_died' | 'not_run', open: boolean): void {
    const { channel, code, cwd, left } = run;
    this.#current = undefined;
    if (!open) for (const stream of [0, 1] as const) this.#close(stream);
    const ends = [run.ends[0] ?? run.out[0].sent, run.ends[1] ?? run.out[1].sent] as const;
    this.#options.emit({ type: 'done', channel, how, code, ends, jobs: left.length, cwd });
  }

  /** Nothing more comes for whoever the stream was of. */
  #close(stream: Stream): void {
    const run = this.#source[stream];
    this.#source[stream] = undefined;
    if (run) this.#options.emit({ type: 'eof', channel: run.channel, stream, end: run.out[stream].sent });
  }

  #diedOn(stream: Stream): void {
    this.#died[stream] = true;
    if (this.#died[0] && this.#died[1]) this.#die();
  }

  #die(): void {
    const run = this.#current;
    for (const stream of [0, 1] as const) this.#close(stream);
    if (run) this.#diedUnder(run);
    for (const { out } of this.#runs.values()) for (const stream of out) stream.close();
    this.#ended.resolve();
  }

  /** A command that had reported its end, be it untold, has its own. */
  #diedUnder(run: Run): void {
    if (!this.#isRunning(run)) return this.#done(run, 'reported', false);
    run.code = this.#code;
    this.#done(run, run.begun ? 'shell_died' : 'not_run', false);
  }

  /** The shell sees the end of its input, and ends after what it runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}
