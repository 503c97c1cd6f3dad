import { AppError } from '../../../errors.ts';
import { bootName, type CommandStore, type NamedNote, type TerminalNote } from '../shell/command-store.ts';
import type { ChannelState } from '../wire/frame.ts';
import type { Greeting } from '../wire/greeting.ts';
import type { HostLink, LiveFrame } from '../wire/host-link.ts';
import * as request from '../wire/request.ts';
import type { Size } from './screen.ts';
import { checkedSize, terminalArgv, terminalCwd, sentInput, typedBytes, type TypedInput } from './arguments.ts';
import { TerminalReader } from './reader.ts';
import { watchStream } from './watch.ts';
import { Terminal, terminalWindow } from './terminal.ts';
import { Timers } from '../../../lib/timers.ts';
import type {
  SentInput,
  TerminalInfo,
  TerminalRead,
  TerminalReadOptions,
  TerminalsPort,
  TerminalWatch,
  WatchOptions,
} from '../../ports/workspace.ts';

export interface TerminalLimits extends Size {
  /** Open terminals; as many that have ended are remembered. */
  readonly max: number;
  readonly scrollback: number;
  /** Bytes kept for the next streaming read. */
  readonly buffer: number;
  readonly watchers: number;
  /** Seconds that a read may wait. */
  readonly maxWait: number;
}

export interface TerminalsOptions {
  readonly link: HostLink;
  readonly limits: TerminalLimits;
  /** Path of the shell. */
  readonly shell: string;
  /** Where a terminal starts that names no directory. */
  readonly directory: string;
  readonly store?: CommandStore | undefined;
}

interface Entry {
  readonly terminal: Terminal;
  readonly reader: TerminalReader;
  readonly note: TerminalNote;
}

/** Bytes that the host keeps of a terminal for a server that comes back. */
const hostRing = 1024 * 1024;
const startTimeout = 15_000;
/** Milliseconds for a terminal's processes to end after each signal. */
const endTimeout = 1000;
const mountedShell = '/opt/berth/bash';
const env = ['TERM=xterm-256color', 'COLORTERM=truecolor'];

/** The sandbox's terminals. They go on when nobody looks, and when the server is replaced. */
export class Terminals implements TerminalsPort {
  readonly #options: TerminalsOptions;
  readonly #link: HostLink;
  readonly #entries = new Map<number, Entry>();

  constructor(options: TerminalsOptions) {
    this.#options = options;
    this.#link = options.link;
  }

  /** Open terminals that somebody watches. */
  get watched(): number {
    return this.#open().filter(({ terminal }) => terminal.watchers > 0).length;
  }

  get openCount(): number {
    return this.#open().length;
  }

  async start(options: { cols?: number; rows?: number; command?: string; cwd?: string } = {}): Promise<TerminalInfo> {
    const { limits, shell } = this.#options;
    const size = checkedSize({ cols: options.cols ?? limits.cols, rows: options.rows ?? limits.rows });
    const argv = terminalArgv(shell, options.command);
    const cwd = terminalCwd(options.cwd, this.#options.directory);
    await this.#link.readyWithin(startTimeout);
    this.#makeRoom();
    const open = (argv: readonly string[]) => this.#launch(options.command ?? shell, size, cwd, argv);
    const first = await open(argv);
    // An image without this shell: the one that is mounted into every sandbox takes its place.
    const terminal = first.refusal && argv.length > 0 ? await open([mountedShell, ...argv.slice(1)]) : first;
    if (terminal.refusal === undefined) return terminal.info;
    throw new AppError('invalid_argument', `The terminal could not be started in ${cwd}: ${terminal.refusal}.`);
  }

  async send(id: string, input: TypedInput): Promise<SentInput> {
    const { terminal } = this.#find(id);
    // The program's modes are known once its output is drawn.
    await terminal.feed.settled();
    const { applicationCursor, bracketedPaste } = terminal.screen;
    const bytes = typedBytes(input, { applicationCursor, bracketedPaste });
    refuseExited(terminal);
    terminal.input.write(bytes);
    return sentInput(input, { applicationCursor, bracketedPaste });
  }

  async read(id: string, options: TerminalReadOptions = {}): Promise<TerminalRead> {
    const entry = this.#find(id);
    const before = entry.reader.position;
    const read = await entry.reader.read(options, this.#options.limits.maxWait);
    if (entry.reader.position !== before) this.#save(entry);
    return read;
  }

  async resize(id: string, cols: number, rows: number): Promise<void> {
    this.#resize(this.#find(id), checkedSize({ cols, rows }));
  }

  async list(): Promise<TerminalInfo[]> {
    return [...this.#entries.values()].map(({ terminal }) => terminal.info);
  }

  async end(id: string): Promise<TerminalInfo> {
    const entry = this.#find(id);
    const { terminal } = entry;
    if (!terminal.isExited) await this.#hangUp(terminal);
    this.#drop(entry);
    return { ...terminal.info, exited: true };
  }

  async watch(id: string, signal: AbortSignal, { uncounted = false }: WatchOptions = {}): Promise<TerminalWatch> {
    const entry = this.#find(id);
    const { terminal } = entry;
    const { watchers } = this.#options.limits;
    if (!uncounted && terminal.watchers >= watchers) {
      throw new AppError('busy', `${watchers} viewers already watch this terminal, which is the limit.`);
    }
    return {
      info: terminal.info,
      output: watchStream(terminal, signal, !uncounted),
      write: async (bytes) => {
        refuseExited(terminal);
        terminal.input.write(bytes);
      },
      resize: async (cols, rows) => this.#resize(entry, checkedSize({ cols, rows })),
      exited: terminal.exited,
    };
  }

  /**
   * A connection was made: goes on with what is known. What is not was opened by an earlier server, at the first one, whose
   * notes are inherited; at a later one it was dropped here, and the host has not heard of it.
   */
  attached(greeting: Greeting, inherited: ReadonlyMap<number, NamedNote> | undefined): void {
    for (const state of greeting.channels.values()) {
      if (state.kind !== 'terminal' || this.#entries.has(state.channel)) continue;
      if (inherited) this.#adopt(state, inherited.get(state.channel));
      else this.#link.send(request.forget(state.channel));
    }
    for (const entry of this.#entries.values()) this.#resume(entry, greeting);
  }

  /** False when no terminal has the frame's channel. */
  frame(frame: Exclude<LiveFrame, { type: 'shell' }>): boolean {
    const terminal = this.#entries.get(frame.channel)?.terminal;
    if (!terminal) return false;
    if (frame.type === 'data') terminal.data(frame.offset, frame.bytes);
    if (frame.type === 'eof') terminal.eof();
    if (frame.type === 'done') terminal.done(frame);
    if (frame.type === 'input_done') terminal.input.taken(frame.total);
    if (frame.type === 'error') terminal.refuse(frame.text);
    return true;
  }

  lost(): void {
    for (const { terminal } of this.#entries.values()) terminal.lost();
  }

  #open(): Entry[] {
    return [...this.#entries.values()].filter(({ terminal }) => !terminal.isExited);
  }

  #find(id: string): Entry {
    for (const entry of this.#entries.values()) if (entry.terminal.id === id) return entry;
    throw new AppError(
      'not_found',
      `sessionId: this sandbox has no terminal "${id.replace(/[^\w.-]/g, '?').slice(0, 64)}".`,
    );
  }

  #makeRoom(): void {
    const { max } = this.#options.limits;
    const open = this.#open().length;
    if (open >= max) {
      throw new AppError(
        'busy',
        `${open} terminals are open in this sandbox, which is the limit; end one of them first.`,
      );
    }
    const exited = [...this.#entries.values()].filter(({ terminal }) => terminal.isExited);
    for (const entry of exited.slice(0, Math.max(0, exited.length - max + 1))) this.#drop(entry);
  }

  #newNote(channel: number, command: string, size: Size): TerminalNote {
    const started = new Date().toISOString();
    return { kind: 'terminal', boot: bootName(this.#link.boot), channel, command, ...size, started, read: 0 };
  }

  #add(id: string, note: TerminalNote): Entry {
    const { limits } = this.#options;
    const { channel } = note;
    const send = {
      input: (bytes: Uint8Array) => this.#link.send(request.input(channel, bytes)),
      credit: (limit: number) => this.#link.send(request.credit(channel, 0, limit)),
    };
    const terminal = new Terminal({ ...note, id, scrollback: limits.scrollback, buffer: limits.buffer, send });
    const entry = { terminal, note, reader: new TerminalReader(terminal, note.read) };
    this.#entries.set(channel, entry);
    this.#save(entry);
    return entry;
  }

  async #launch(command: string, size: Size, cwd: string, argv: readonly string[]): Promise<Terminal> {
    const channel = this.#link.nextChannel();
    const note = this.#newNote(channel, command, size);
    const entry = this.#add(`term_${channel}_${note.boot}`, note);
    this.#link.send(request.open(channel, { ...size, window: terminalWindow, ring: hostRing, cwd, argv, env }));
    // By its answer to a ping the host has refused what it refuses.
    await this.#link.ping();
    if (entry.terminal.refusal) this.#drop(entry);
    return entry.terminal;
  }

  #adopt(state: ChannelState, note: NamedNote | undefined): void {
    const { rows, cols } = this.#options.limits;
    const known = note?.kind === 'terminal' ? note : this.#newNote(state.channel, '', { rows, cols });
    const read = note?.kind === 'terminal' ? note.read : state.streams[0].oldest;
    this.#add(note?.id ?? `term_${state.channel}_${known.boot}`, { ...known, read });
  }

  #resume(entry: Entry, greeting: Greeting): void {
    const { terminal } = entry;
    const state = greeting.channels.get(terminal.channel);
    if (!state) return terminal.lost();
    const isNew = terminal.flow.received === 0;
    const { from, limit } = terminal.resume(state);
    this.#link.send(request.follow(terminal.channel, 0, from, limit));
    if (!state.ended) this.#settleSize(terminal, isNew && from > 0);
  }

  /** The program's size is the screen's. A change of it makes the program repaint, where the beginning of its output is gone. */
  #settleSize(terminal: Terminal, repaint: boolean): void {
    const { rows, cols } = terminal.screen.size;
    if (repaint) this.#link.send(request.resize(terminal.channel, rows > 1 ? rows - 1 : rows + 1, cols));
    this.#link.send(request.resize(terminal.channel, rows, cols));
  }

  async #hangUp(terminal: Terminal): Promise<void> {
    await this.#link.readyWithin(startTimeout);
    terminal.stopDrawing();
    for (const name of ['HUP', 'KILL'] as const) {
      this.#link.send(request.signal(terminal.channel, name, 'tree'));
      using timers = new Timers();
      await Promise.race([terminal.exited, timers.after(endTimeout)]);
      if (terminal.isExited) return;
    }
  }

  #resize(entry: Entry, size: Size): void {
    entry.terminal.screen.resize(size);
    this.#link.send(request.resize(entry.terminal.channel, size.rows, size.cols));
    this.#save(entry);
  }

  #save({ terminal, note, reader }: Entry): void {
    const now: TerminalNote = { ...note, ...terminal.screen.size, read: reader.position };
    this.#options.store?.save(terminal.id, JSON.stringify(now));
  }

  #drop({ terminal }: Entry): void {
    this.#entries.delete(terminal.channel);
    this.#link.send(request.forget(terminal.channel));
    this.#options.store?.drop(terminal.id);
    terminal[Symbol.dispose]();
  }
}

function refuseExited(terminal: Terminal): void {
  if (!terminal.isExited) return;
  throw new AppError(
    'conflict',
    `The terminal's program has ended with exit code ${terminal.exitCode}; it takes no input.`,
  );
}
