import { randomBytes } from 'node:crypto';
import { AppError, type ErrorCode } from '../../../errors.ts';
import { Command } from './command.ts';
import { CommandHistory } from './command-history.ts';
import { CommandNotes } from './command-notes.ts';
import { bootName, type CommandStore, type NamedNote } from './command-store.ts';
import type { ChannelState, HostErrorCode, Stream } from '../wire/frame.ts';
import { interrupt, reportsWithin } from './interrupt.ts';
import type { Greeting, ShellState } from '../wire/greeting.ts';
import { unreachable, type HostLink, type LiveFrame } from '../wire/host-link.ts';
import type { OutputLimits } from './output.ts';
import type { OutputBudget } from './output-budget.ts';
import * as request from '../wire/request.ts';
import { activeCommand } from './results.ts';
import { commandBytes } from './arguments.ts';
import { ShellLife } from './life.ts';
import { didNotRun, queueFull, refusals, shellDoesNotStart, shellIsStuck, startTimeout } from './refusals.ts';
import { detached } from '../../../lib/detached.ts';

export interface RunnerOptions {
  readonly link: HostLink;
  readonly output: OutputLimits;
  /** Seconds for a command that an earlier server began without a note of its deadline. */
  readonly timeout: number;
  readonly history: number;
  readonly historyBytes: number;
  /** For the output that is remembered in all sandboxes together. */
  readonly budget?: OutputBudget | undefined;
  readonly queue: number;
  readonly store?: CommandStore | undefined;
}

/** Bytes of each stream that the host may send ahead. */
const credit = 1024 * 1024;
/** Milliseconds that a command runs before it is noted for a later server. */
const noteAfter = 500;
/** Milliseconds for an ended command's last output. */
const outputTimeout = 30_000;
const longestTimer = 2 ** 31 - 1;

/** Feeds commands to the host's shell one after another, and what the host tells to the commands. */
export class ShellRunner {
  readonly #options: RunnerOptions;
  readonly #link: HostLink;
  readonly #history: CommandHistory;
  readonly #queue: Command[] = [];
  #current: Command | undefined;
  readonly #shell = new ShellLife();
  #stalled: NodeJS.Timeout | undefined;
  /** Why no command can run any more. */
  #over: { code: ErrorCode; message: string } | undefined;
  #lastCode = 0;
  /** The highest channel whose command has ended. */
  #lastEnded = 0;
  /** Commands that are being ended by all means; one that was only asked to end is none. */
  readonly #interrupting = new WeakSet<Command>();
  readonly #notes: CommandNotes;
  readonly #sender = (...frames: Uint8Array[]): void => this.#link.send(...frames);

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#link = options.link;
    this.#notes = new CommandNotes(options.store);
    this.#history = new CommandHistory({
      count: options.history,
      bytes: options.historyBytes,
      budget: options.budget,
      forget: (command) => this.#forget(command),
    });
  }

  get cwd(): string {
    return this.#shell.state.cwd;
  }

  /** The text of the command that runs. */
  get running(): string | undefined {
    return this.#current?.text;
  }

  get busy(): boolean {
    return this.#current !== undefined || this.#queue.length > 0;
  }

  /** What runs in the shell. */
  get current(): Command | undefined {
    return this.#current;
  }

  /** What runs, then what waits in order; each has a name. */
  active(): Command[] {
    for (const command of this.#queue) this.#name(command);
    return [...(this.#current ? [this.#current] : []), ...this.#queue];
  }

  /** What ended last, of what is remembered. */
  get last(): Command | undefined {
    return [...this.#history.all()].at(-1);
  }

  find(id: string): Command | undefined {
    if (this.#current?.id === id) return this.#current;
    return this.#queue.find((command) => command.id === id) ?? this.#history.byId(id);
  }

  /** Those that have a name: remembered ones, the running one, and those that wait. */
  commands(): Command[] {
    const active = this.#current ? [this.#current, ...this.#queue] : this.#queue;
    return [...new Set([...this.#history.all(), ...active])].filter(({ id }) => id !== '');
  }

  /** Queues a command; returns its place, 0 when it has begun. Throws `busy` when the queue is full. */
  enqueue(command: Command): number {
    if (this.#over) throw new AppError(this.#over.code, this.#over.message);
    const limit = this.#options.queue;
    if (this.#current && this.#queue.length >= limit) throw queueFull(limit, activeCommand(this.#current));
    this.#queue.push(command);
    this.#next();
    return command.begun ? 0 : this.#queue.length;
  }

  newCommand(
    text: string,
    timeout: number,
    onOutput?: (stream: 'stdout' | 'stderr', bytes: Uint8Array) => void,
  ): Command {
    const grant = (channel: number, stream: Stream, limit: number) =>
      this.#link.send(request.credit(channel, stream, limit));
    const directory = () => this.cwd;
    return new Command({ text, timeout, limits: this.#options.output, credit, grant, directory, onOutput });
  }

  /** Interrupts a command that runs, and takes one that waits out of the queue. */
  cancel(command: Command): void {
    if (command.ended) command.abandon();
    const place = this.#queue.indexOf(command);
    if (place < 0) return detached(this.interrupt(command, 'cancelled'));
    this.#queue.splice(place, 1);
    this.#refuse(command, new AppError('cancelled', 'The command was cancelled before its turn came; it did not run.'));
  }

  async interrupt(command: Command, why: 'timeout' | 'cancelled'): Promise<void> {
    if (command.ended || this.#interrupting.has(command)) return;
    this.#interrupting.add(command);
    command.interruptedBy(why);
    await interrupt(command, this.#sender);
    if (command.ended) return;
    command.abandon();
    this.#next();
  }

  /** Ends a running command with the given signal first. */
  async stop(command: Command, signal: 'INT' | 'TERM' | 'KILL'): Promise<void> {
    const { channel } = command;
    if (command.ended) return this.#link.send(request.signal(channel, signal, 'tree'));
    command.interruptedBy('cancelled');
    this.#link.send(request.signal(channel, 'INT', 'first'), request.signal(channel, signal, 'tree'));
    if (signal !== 'KILL' || (await reportsWithin(command, 1000))) return;
    this.#link.send(request.signal(channel, 'KILL', 'first'));
  }

  /** Replaces the shell by a clean one, and tells the end of what ran in the old one. Rejects `timeout`. */
  async reset(): Promise<void> {
    await this.#link.readyWithin(startTimeout);
    this.#refuseQueued('cancelled', 'The shell was reset before this command had its turn; it did not run.');
    const ending = this.#current;
    ending?.interruptedBy('cancelled');
    this.#shell.ends();
    this.#link.send(request.reset(false));
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(shellDoesNotStart()), startTimeout);
    const lost = this.#link.closed.then(() => this.#link.ready);
    try {
      // Whoever asks after the command then must hear of its end.
      const told = Promise.allSettled([ending?.settled]);
      await Promise.race([this.#shell.restarted.then(() => told), lost, late.promise]);
    } finally {
      clearTimeout(timer);
    }
    this.#lastCode = 0;
  }

  /**
   * A connection was made. What the host knows at the first one and this server does not was begun by an earlier server,
   * whose notes are inherited; at a later one it was forgotten here, and the word of that was lost with the connection
   * before.
   */
  attached(greeting: Greeting, inherited: ReadonlyMap<number, NamedNote> | undefined): void {
    if (inherited) this.#shell.toldOf(greeting.shell.generation);
    for (const state of greeting.channels.values()) {
      if (state.kind !== 'command' || this.#byChannel(state.channel)) continue;
      if (inherited) this.#adopt(state, greeting.shell.running === state.channel, inherited.get(state.channel));
      else this.#link.send(request.forget(state.channel));
    }
    for (const command of this.#history.all()) this.#resume(command, greeting);
    if (this.#current) this.#resume(this.#current, greeting);
    if (this.#current?.endedBy && !this.#current.ended) detached(interrupt(this.#current, this.#sender));
    this.shellIs(greeting.shell);
  }

  shellIs(state: ShellState): void {
    this.#shell.is(state, this.#current);
    this.#next();
  }

  /** The shell as it is now is the first that callers know of. */
  begins(): void {
    this.#shell.toldOf();
  }

  /** False when no command has the frame's channel. */
  frame(frame: Exclude<LiveFrame, { type: 'shell' }>): boolean {
    const command = this.#byChannel(frame.channel);
    if (!command) return false;
    if (frame.type === 'data') command.data(frame.stream, frame.offset, frame.bytes);
    if (frame.type === 'data' && command !== this.#current) this.#history.grown();
    if (frame.type === 'eof') command.eof(frame.stream);
    if (frame.type === 'done') this.#done(command, frame);
    if (frame.type === 'error' && !command.ended) this.#refused(command, frame.code);
    return true;
  }

  /** The end of the newest command is what the next one sees as `$?`, also where it came while no server was there. */
  #done(command: Command, frame: Extract<LiveFrame, { type: 'done' }>): void {
    command.done(frame);
    if (frame.how === 'not_run' || command.channel < this.#lastEnded) return;
    this.#lastEnded = command.channel;
    this.#lastCode = frame.code;
  }

  /** The sandbox is gone, for a reason given as a clause. */
  lost(reason: string): void {
    this.#endWith('sandbox_lost', `The sandbox was lost before this command ran: ${reason}.`);
    this.#current?.lost(reason);
    for (const command of this.#history.all()) command.lost(reason);
  }

  /** The server lets go of the sandbox. What runs goes on. */
  release(): void {
    this.#endWith('draining', 'The server is stopping; this command did not run.');
    this.#current?.release();
    this.#history[Symbol.dispose]();
  }

  #endWith(code: ErrorCode, message: string): void {
    this.#over = { code, message };
    this.#stopWaiting();
    this.#refuseQueued(code, message);
  }

  /** A call returns before the command's end: the command gets a name, and is noted for a later server. */
  keep(command: Command): void {
    this.#name(command);
    if (command.begun) this.#notes.note(command, this.#boot);
  }

  #name(command: Command): void {
    command.nameIt(`cmd_q_${randomBytes(6).toString('hex')}`);
  }

  #byChannel(channel: number): Command | undefined {
    return this.#current?.channel === channel ? this.#current : this.#history.byChannel(channel);
  }

  #next(): void {
    if (this.#queue.length === 0 || (this.#current && !this.#current.abandoned)) return this.#stopWaiting();
    if (this.#current || !this.#shell.isReady || !this.#link.isAttached) return this.#waitForShell();
    this.#stopWaiting();
    const command = this.#queue.shift();
    if (!command) return;
    this.#current = command;
    this.#begin(command);
    detached(this.#tend(command, command.timeout));
  }

  #waitForShell(): void {
    this.#stalled ??= setTimeout(() => {
      this.#stalled = undefined;
      const why = this.#link.isAttached ? (this.#current ? shellIsStuck() : shellDoesNotStart()) : unreachable();
      this.#refuseQueued(why.code, why.message);
    }, startTimeout);
  }

  #stopWaiting(): void {
    clearTimeout(this.#stalled);
    this.#stalled = undefined;
  }

  #refuseQueued(code: ErrorCode, message: string): void {
    for (const command of this.#queue.splice(0)) this.#refuse(command, new AppError(code, message));
  }

  /** One whose name a caller has is remembered with the reason. */
  #refuse(command: Command, why: AppError): void {
    command.refuse(why);
    this.#history.add(command);
  }

  #begin(command: Command): void {
    const channel = this.#link.nextChannel();
    command.begin(channel, this.#idOf(channel), this.#shell.state);
    this.#shell.begins(command);
    this.#send(command);
  }

  #send(command: Command): void {
    this.#link.send(...request.run(command.channel, this.#lastCode, credit, commandBytes(command.text)));
  }

  #idOf(channel: number): string {
    return `cmd_${channel}_${this.#boot}`;
  }

  get #boot(): string {
    return bootName(this.#link.boot);
  }

  /** Stays with a command from its beginning in the shell to its end there. */
  async #tend(command: Command, seconds: number): Promise<void> {
    const timer = setTimeout(
      () => detached(this.interrupt(command, 'timeout')),
      Math.min(seconds * 1000, longestTimer),
    );
    const noted = setTimeout(() => this.#notes.note(command, this.#boot), noteAfter);
    const report = await command.reported;
    clearTimeout(timer);
    clearTimeout(noted);
    if (report === 'released') return;
    this.#current = undefined;
    if (report === 'shell_died' || report === 'not_run') this.#shell.endedUnder(command, report === 'shell_died');
    if (report === 'not_run') this.#tryAgain(command);
    else if (report !== 'refused') this.#finish(command);
    this.#next();
  }

  /** A command that the shell never read is safe to run once more. */
  #tryAgain(command: Command): void {
    if (command.endedBy)
      return this.#refuse(command, new AppError('cancelled', 'The command was cancelled before it ran.'));
    if (command.attempts > 1) return this.#refuse(command, didNotRun());
    this.#queue.unshift(command);
  }

  #finish(command: Command): void {
    if (command.cwd) this.#shell.movedTo(command.cwd);
    this.#history.add(command);
    if (command.status === 'running') this.#expectOutput(command);
  }

  /** The rest of an ended command's output is on its way, unless the host is not what it should be. */
  #expectOutput(command: Command): void {
    const timer = setTimeout(() => command.abandon(), outputTimeout);
    detached(command.settled.finally(() => clearTimeout(timer)));
  }

  #refused(command: Command, code: HostErrorCode): void {
    this.#refuse(command, refusals[code]());
  }

  /** Goes on with a command that an earlier server began. */
  #adopt(state: ChannelState, running: boolean, note: NamedNote | undefined): void {
    const known = note?.kind === 'command' ? note : undefined;
    if (known) this.#notes.knows(known.id);
    const left = known ? (known.deadline - Date.now()) / 1000 : this.#options.timeout;
    const command = this.newCommand(known?.text ?? '', left);
    const ago = known ? Math.max(0, (Date.now() - known.started) / 1000) : 0;
    command.begin(state.channel, known?.id ?? this.#idOf(state.channel), this.#shell.state, ago);
    if (!running) return this.#history.add(command);
    this.#current = command;
    detached(this.#tend(command, Math.max(0.001, left)));
  }

  /** Goes on reading a command's output on a new connection. */
  #resume(command: Command, greeting: Greeting): void {
    const state = greeting.channels.get(command.channel);
    if (!state) return this.#unknownToHost(command, greeting);
    for (const stream of [0, 1] as const) {
      const own = command.stream(stream);
      if (own.eof) continue;
      const from = Math.max(own.flow.received, state.streams[stream].oldest);
      const limit = own.resume(from);
      this.#link.send(request.follow(command.channel, stream, from, limit));
    }
  }

  /** The connection broke before the host had the whole command, or after it had forgotten it. */
  #unknownToHost(command: Command, greeting: Greeting): void {
    if (command.ended) return command.lost('the host no longer keeps its output');
    if (command.channel > greeting.highest) return this.#send(command);
    command.notRun();
  }

  #forget(command: Command): void {
    if (command.begun) this.#link.send(request.forget(command.channel));
    this.#notes.forget(command.id);
  }
}
