import type { AppError } from '../../../errors.ts';
import type { DoneHow, HostFrame, Stream } from '../wire/frame.ts';
import { Inflow } from '../wire/inflow.ts';
import { CommandStream } from './command-stream.ts';
import { KeptOutput, type OutputLimits } from './output.ts';
import type { Cause, CommandStatus } from '../../ports/workspace.ts';

export type EndedBy = 'timeout' | 'cancelled' | 'sandbox_lost';
/** How a command's time in the shell ended. `refused`: it never began; `released`: it goes on without this server. */
export type Report = DoneHow | 'lost' | 'refused' | 'released';
type Done = Extract<HostFrame, { type: 'done' }>;

export interface CommandOptions {
  readonly text: string;
  /** Seconds until it is interrupted. */
  readonly timeout: number;
  readonly limits: OutputLimits;
  /** Bytes of each stream that the host may send ahead. */
  readonly credit: number;
  readonly grant: (channel: number, stream: Stream, limit: number) => void;
  /** Where the shell is: the command's directory for as long as it has not begun. */
  readonly directory: () => string;
  readonly onOutput?: ((stream: 'stdout' | 'stderr', bytes: Uint8Array) => void) | undefined;
}

/** A command for the sandbox's shell, from its call until it is forgotten. */
export class Command {
  readonly text: string;
  readonly timeout: number;
  readonly #options: CommandOptions;
  #id: string | undefined;
  #channel = 0;
  #streams: readonly [CommandStream, CommandStream];
  /** Milliseconds on the monotonic clock. */
  #started: number | undefined;
  #took: number | undefined;
  /** Milliseconds since the epoch. */
  readonly #made = Date.now();
  #status: CommandStatus = 'running';
  #done: Done | undefined;
  #cwd = '';
  #generation = 0;
  #attempts = 0;
  #lost: string | undefined;
  #endedBy: EndedBy | undefined;
  #refusal: AppError | undefined;
  #reported = Promise.withResolvers<Report>();
  readonly #settled = Promise.withResolvers<void>();
  #news: PromiseWithResolvers<void> | undefined;
  /** The shell had died, and lost its jobs, since the command before. */
  shellWasLost = false;

  constructor(options: CommandOptions) {
    this.text = options.text;
    this.timeout = options.timeout;
    this.#options = options;
    this.#streams = [this.#stream(0), this.#stream(1)];
    this.#settled.promise.catch(() => {});
  }

  #stream(stream: Stream): CommandStream {
    const { credit, grant, limits, onOutput } = this.#options;
    const flow = new Inflow(credit, (limit) => grant(this.#channel, stream, limit));
    const report = onOutput && ((bytes: Uint8Array) => onOutput(stream === 0 ? 'stdout' : 'stderr', bytes));
    return new CommandStream(flow, new KeptOutput(limits), report);
  }

  /** The host runs it as `channel` in the given shell. `ago`: seconds since it began there. */
  begin(channel: number, id: string, shell: { generation: number; cwd: string }, ago = 0): void {
    if (this.#channel !== 0) this.#streams = [this.#stream(0), this.#stream(1)];
    this.#channel = channel;
    this.#id ??= id;
    this.#cwd = shell.cwd;
    this.#generation = shell.generation;
    this.#attempts += 1;
    this.#started = performance.now() - ago * 1000;
    this.#done = undefined;
    this.#reported = Promise.withResolvers();
  }

  /** 0 while it waits for its turn. */
  get channel(): number {
    return this.#channel;
  }

  get begun(): boolean {
    return this.#channel !== 0;
  }

  /** Of the shell it began in. */
  get generation(): number {
    return this.#generation;
  }

  /** How often it was given to a shell. */
  get attempts(): number {
    return this.#attempts;
  }

  get id(): string {
    return this.#id ?? '';
  }

  /** Gives a name to a command that has not begun. */
  nameIt(id: string): void {
    this.#id ??= id;
  }

  get stdout(): CommandStream {
    return this.#streams[0];
  }

  get stderr(): CommandStream {
    return this.#streams[1];
  }

  stream(stream: Stream): CommandStream {
    return this.#streams[stream];
  }

  get status(): CommandStatus {
    return this.#status;
  }

  /** What interrupted it first, if anything did. */
  get endedBy(): EndedBy | undefined {
    return this.#endedBy;
  }

  interruptedBy(cause: EndedBy): void {
    this.#endedBy ??= cause;
  }

  get exitCode(): number | null {
    return this.#done?.code ?? null;
  }

  /** Why it never ran. */
  get refusal(): AppError | undefined {
    return this.#refusal;
  }

  get shellRestarted(): boolean {
    return this.shellWasLost || this.#done?.how === 'shell_died';
  }

  get cwd(): string {
    return this.#done?.cwd || this.#cwd || this.#options.directory();
  }

  /** As callers name it: one that waits for its first turn is `queued`. */
  get shownStatus(): CommandStatus {
    return this.#status === 'running' && !this.begun ? 'queued' : this.#status;
  }

  /** When it began, or came into the queue; milliseconds since the epoch. */
  get since(): number {
    return this.begun ? Date.now() - this.executionTime * 1000 : this.#made;
  }

  /** Seconds it ran, or has run so far. */
  get executionTime(): number {
    if (this.#started === undefined) return 0;
    return (this.#took ?? performance.now() - this.#started) / 1000;
  }

  /** Seconds since its end; undefined while it runs, and of one that never ran. */
  get endedFor(): number | undefined {
    if (this.#started === undefined || this.#took === undefined) return undefined;
    return (performance.now() - this.#started - this.#took) / 1000;
  }

  /** Processes that it left behind, as the host counted them at its end. */
  get jobs(): number {
    return this.#done?.jobs ?? 0;
  }

  /** True while processes that it left hold its output. */
  get background(): boolean {
    return this.#done !== undefined && this.#lost === undefined && !this.drained;
  }

  /** True when every holder of its output is gone and every byte is here. */
  get drained(): boolean {
    return this.stdout.eof && this.stderr.eof;
  }

  get ended(): boolean {
    return this.#done !== undefined || this.#lost !== undefined || this.#refusal !== undefined;
  }

  /** Resolves when the shell reports the end, or the sandbox is lost. */
  get reported(): Promise<Report> {
    return this.#reported.promise;
  }

  /** Resolves when the status is final and every byte of the command's own output is here; rejects when it did not run. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  /** Resolves at the next output or change of status. */
  get news(): Promise<void> {
    this.#news ??= Promise.withResolvers();
    return this.#news.promise;
  }

  /** Bytes of memory its output holds. */
  get allocated(): number {
    return this.stdout.kept.allocated + this.stderr.kept.allocated;
  }

  data(stream: Stream, offset: number, bytes: Uint8Array): void {
    this.#streams[stream].data(offset, bytes);
    this.#changed();
  }

  eof(stream: Stream): void {
    this.#streams[stream].close();
    this.#changed();
  }

  done(frame: Done): void {
    if (this.ended) return;
    this.#done = frame;
    this.#reported.resolve(frame.how);
    if (frame.how === 'not_run') return;
    this.#took = this.executionTime * 1000;
    this.stdout.endsAt(frame.ends[0]);
    this.stderr.endsAt(frame.ends[1]);
    this.#changed();
  }

  /** The host does not know it. */
  notRun(): void {
    this.#reported.resolve('not_run');
  }

  /** This server has nothing to do with it any more. */
  release(): void {
    this.#reported.resolve('released');
  }

  /** It never ran, and never will. */
  refuse(error: AppError): void {
    this.interruptedBy(error.code === 'sandbox_lost' ? 'sandbox_lost' : 'cancelled');
    this.#took ??= this.executionTime * 1000;
    this.#done = undefined;
    this.#refusal = error;
    for (const stream of this.#streams) stream.close();
    this.#status = this.#endedBy ?? 'cancelled';
    this.#reported.resolve('refused');
    this.#settled.reject(error);
    this.#changed();
  }

  /** Interrupted, and nobody waits for its end any longer; it has not come. */
  get abandoned(): boolean {
    return !this.ended && this.#status !== 'running';
  }

  /** Nobody waits any longer: an interrupted command does not report, or an ended one's output does not come. */
  abandon(): void {
    if (this.#status !== 'running') return;
    for (const stream of this.#streams) stream.giveUp();
    this.#settle();
    this.#changed();
  }

  /** The sandbox is gone, for the reason given as a clause. */
  lost(reason: string): void {
    if (this.#lost !== undefined || this.#refusal !== undefined) return;
    if (!this.#done) this.interruptedBy('sandbox_lost');
    this.#took ??= this.executionTime * 1000;
    this.#lost = reason;
    for (const stream of this.#streams) stream.close();
    this.#reported.resolve('lost');
    this.#changed();
  }

  #changed(): void {
    if (this.#status === 'running') this.#trySettle();
    this.#news?.resolve();
    this.#news = undefined;
  }

  #trySettle(): void {
    if (!this.ended) return;
    const complete = this.stdout.complete && this.stderr.complete;
    if (complete || this.#lost !== undefined) this.#settle();
  }

  #settle(): void {
    this.#status = this.#endedBy ?? (this.#done?.code === 0 ? 'success' : 'error');
    this.#settled.resolve();
  }

  get cause(): Cause | undefined {
    if (this.#refusal && this.#endedBy) return { code: this.#endedBy, message: this.#refusal.message };
    const seconds = this.executionTime.toFixed(1);
    switch (this.#endedBy) {
      case 'timeout':
        return { code: 'timeout', message: `The command was stopped at its timeout, after ${seconds} s.` };
      case 'cancelled':
        return { code: 'cancelled', message: `The command was cancelled after ${seconds} s.` };
      case 'sandbox_lost':
        return { code: 'sandbox_lost', message: `The sandbox was lost while the command ran: ${this.#lost}.` };
      default:
        return undefined;
    }
  }
}
