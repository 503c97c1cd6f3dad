import { AppError, isDraining } from '../../../errors.ts';
import type { Command } from './command.ts';
import { activeCommand, commandBrief, commandPage, commandResult } from './results.ts';
import { checkOffset, checkSeconds, checkWait, commandBytes } from './arguments.ts';
import type { ShellRunner } from './runner.ts';
import { Timers } from '../../../lib/timers.ts';
import type {
  ActiveCommand,
  CommandBrief,
  CommandPage,
  CommandResult,
  RunOptions,
  ShellPort,
} from '../../ports/workspace.ts';
import { detached } from '../../../lib/detached.ts';

export interface ShellLimits {
  /** Seconds a command may run unless the call says otherwise, and at most. */
  readonly timeout: number;
  readonly maxTimeout: number;
  /** Seconds after which a call returns unless it says otherwise; 0: at the command's end. */
  readonly wait: number;
  /** Bytes of each stream in one page of `check`. */
  readonly page: number;
}

/**
 * Milliseconds that an ended command's output may take to close before its holders count as background processes: few
 * where the host counted some, more where the last ones may be just about to end, as those of an interrupted command are.
 */
const closingGrace = { withJobs: 100, withoutJobs: 1000 };
const stopTimeout = 3000;

/** The sandbox's persistent shell as callers see it. */
export class Shell implements ShellPort {
  readonly #runner: ShellRunner;
  readonly #limits: ShellLimits;
  readonly #released = Promise.withResolvers<void>();

  constructor(runner: ShellRunner, limits: ShellLimits) {
    this.#runner = runner;
    this.#limits = limits;
  }

  async run(text: string, options: RunOptions = {}): Promise<CommandResult> {
    commandBytes(text);
    const timeout = checkSeconds('timeout', options.timeout, this.#limits.maxTimeout) ?? this.#limits.timeout;
    const wait = options.wait === undefined ? this.#defaultWait : checkWait(options.wait, this.#limits.maxTimeout);
    if (options.signal?.aborted) throw new AppError('cancelled', 'The call was cancelled; the command did not run.');
    const command = this.#runner.newCommand(text, timeout, options.onOutput);
    const place = this.#runner.enqueue(command);
    if (place > 0) options.onQueued?.(place, this.#running);
    using timers = new Timers();
    const left = Promise.withResolvers<void>();
    timers.onAbort(options.signal, () => {
      // The next server goes on with it.
      if (command.begun && isDraining(options.signal?.reason)) left.resolve();
      else this.#runner.cancel(command);
    });
    const enough = wait === undefined ? [] : [timers.after(wait * 1000)];
    await Promise.race([this.#end(command), this.#released.promise, left.promise, ...enough]);
    if (command.refusal) throw command.refusal;
    if (command.status === 'running') this.#runner.keep(command);
    return commandResult(command, this.#runner.current);
  }

  get #defaultWait(): number | undefined {
    const { maxTimeout, wait } = this.#limits;
    return wait > 0 ? Math.min(wait, maxTimeout) : undefined;
  }

  get #running(): ActiveCommand | undefined {
    const { current } = this.#runner;
    return current && activeCommand(current);
  }

  async check(
    commandId: string | undefined,
    options: { offset?: number; errOffset?: number; wait?: number; signal?: AbortSignal } = {},
  ): Promise<CommandPage> {
    const offset = checkOffset('offset', options.offset);
    const errOffset = checkOffset('err_offset', options.errOffset);
    const wait = checkWait(options.wait, this.#limits.maxTimeout);
    const command = commandId === undefined ? this.#newest() : this.#find(commandId);
    if (wait > 0) await this.#until(command, newsOf(command, offset, errOffset), wait * 1000, options.signal);
    return commandPage(command, this.#runner.current, { offset, errOffset, size: this.#limits.page });
  }

  async stop(commandId: string | undefined, signal: 'INT' | 'TERM' | 'KILL'): Promise<CommandPage> {
    const command = commandId === undefined ? this.#current() : this.#find(commandId);
    const running = command.status === 'running';
    if (command.begun) await this.#runner.stop(command, signal);
    else this.#runner.cancel(command);
    await this.#until(command, () => (running ? command.status !== 'running' : command.drained), stopTimeout);
    return commandPage(command, this.#runner.current, { offset: 0, errOffset: 0, size: this.#limits.page });
  }

  async cwd(): Promise<string> {
    return this.#runner.cwd;
  }

  async reset(): Promise<void> {
    await this.#runner.reset();
  }

  /** The commands that are known, whoever gave them. */
  commands(): CommandBrief[] {
    return this.#runner.commands().map(commandBrief);
  }

  /** The server lets go: calls in flight return what there is. */
  release(): void {
    this.#runner.release();
    this.#released.resolve();
  }

  /** What the shell runs, then what waits for it. */
  active(): ActiveCommand[] {
    return this.#runner.active().map(activeCommand);
  }

  #current(): Command {
    const { current } = this.#runner;
    if (current) return current;
    throw new AppError(
      'not_found',
      'command_id: no command runs in this sandbox, so there is none to stop; name an ended one to stop what it left running.',
    );
  }

  #newest(): Command {
    const command = this.#runner.current ?? this.#runner.last;
    if (command) return command;
    throw new AppError('not_found', 'command_id: this sandbox knows no command; none was run in it.');
  }

  #find(id: string): Command {
    const command = this.#runner.find(id);
    if (command) return command;
    throw new AppError('not_found', `command_id: this sandbox knows no command "${printable(id)}".`);
  }

  /** The end of the command, with a moment for its output to be closed. */
  async #end(command: Command): Promise<void> {
    await command.settled;
    const staying = command.jobs > 0 && !command.endedBy;
    const grace = staying ? closingGrace.withJobs : closingGrace.withoutJobs;
    if (!command.drained) await this.#until(command, () => command.drained, grace);
  }

  /** Waits for the command's news until the condition holds or the time is over. */
  async #until(command: Command, holds: () => boolean, milliseconds: number, signal?: AbortSignal): Promise<void> {
    using timers = new Timers();
    const over = Promise.race([timers.after(milliseconds), timers.aborted(signal), this.#released.promise]);
    let isOver = false;
    detached(over.then(() => (isOver = true)));
    while (!isOver && !holds()) await Promise.race([command.news, over]);
  }
}

/**
 * Whether there is something to tell to one who knows the output up to the offsets: more of it, or the end. The end of
 * an ended command is that of its background processes' output, except for one who asks beyond all output, and so for
 * the command's end alone.
 */
function newsOf(command: Command, offset: number, errOffset: number): () => boolean {
  const more = () => command.stdout.kept.total > offset || command.stderr.kept.total > errOffset;
  const beyond = command.stdout.kept.total < offset && command.stderr.kept.total < errOffset;
  const ended = () => command.status !== 'running';
  return ended() && !beyond ? () => more() || !command.background : () => more() || ended();
}

function printable(id: string): string {
  return id.replace(/[^\w.-]/g, '?').slice(0, 64);
}
