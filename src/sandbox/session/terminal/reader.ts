import { AppError } from '../../../errors.ts';
import { unfinished } from '../../../lib/escapes.ts';
import { Pattern, patternWindow } from './pattern.ts';
import type { Terminal } from './terminal.ts';
import { checkWait } from '../shell/arguments.ts';
import { Timers } from '../../../lib/timers.ts';
import { leadingContinuation, unfinishedUtf8 } from '../../../lib/utf8.ts';
import type { TerminalRead, TerminalReadOptions } from '../../ports/workspace.ts';
import { detached } from '../../../lib/detached.ts';

const defaultMaxBytes = 102_400;
const largestSize = 1024 * 1024;
const longestCharacter = 4;
/** Milliseconds without output after which what came is taken for complete. */
const quiet = 100;
/** Milliseconds between two matches of a pattern against a flood. */
const matchPause = 50;

/** `view`: the screen with the scrollback since the last read, which counts as read. */
type Kind = 'streaming' | 'snapshot' | 'view';

/**
 * Reads one terminal for callers that poll. Every byte is returned once by streaming reads, in order, unless a view has
 * shown what it drew.
 */
export class TerminalReader {
  readonly #terminal: Terminal;
  /** Offset behind the last byte that a streaming read returned. */
  #read: number;

  constructor(terminal: Terminal, read: number) {
    this.#terminal = terminal;
    this.#read = read;
  }

  /** Offset behind the last byte that a streaming read returned. */
  get position(): number {
    return this.#read;
  }

  async read(options: TerminalReadOptions, maxWait: number): Promise<TerminalRead> {
    const limit = checkSize('maxBytes', options.maxBytes ?? defaultMaxBytes);
    const snapshotLimit = checkSize('snapshotSize', options.snapshotSize ?? limit);
    const pattern = options.until === undefined ? undefined : new Pattern(options.until);
    const wait = checkWait(options.wait, maxWait);
    using timers = new Timers();
    const over = Promise.race([timers.after(wait * 1000), timers.aborted(options.signal)]);
    const matched = pattern && (await this.#untilMatch(pattern, options, over));
    if (!pattern && wait > 0) await this.#untilQuiet(over);
    await this.#terminal.feed.settled();
    const kind = this.#kind(options);
    const part = kind === 'streaming' ? this.#stream(limit) : this.#show(kind, snapshotLimit);
    const mode = kind === 'streaming' ? kind : 'snapshot';
    return { ...this.#common(), ...part, mode, ...(matched !== undefined && { matched }) };
  }

  #kind({ mode }: TerminalReadOptions): Kind {
    if (mode) return mode;
    if (this.#terminal.screen.alternate) return 'snapshot';
    return this.#terminal.movedAt > this.#read ? 'view' : 'streaming';
  }

  #text(kind: 'snapshot' | 'view'): Buffer {
    const { screen } = this.#terminal;
    return Buffer.from((kind === 'view' ? screen.rowsSinceMark() : screen.rows()).join('\n'));
  }

  #common() {
    const { screen, flow, isExited, exitCode } = this.#terminal;
    return {
      totalBytesReceived: flow.received,
      cursor: screen.cursor,
      size: screen.size,
      alternateScreen: screen.alternate,
      exited: isExited,
      exitCode,
    };
  }

  #show(kind: 'snapshot' | 'view', limit: number) {
    const text = this.#text(kind);
    if (kind === 'view') this.#readTo(this.#terminal.drawn);
    const shown = text.length > limit ? text.subarray(text.length - limit) : text;
    return {
      output: shown.subarray(shown === text ? 0 : leadingContinuation(shown)).toString(),
      truncated: shown !== text,
      originalSize: text.length,
      isSnapshot: true,
      snapshotTime: new Date().toISOString(),
      dropped: 0,
    };
  }

  #stream(limit: number) {
    const { from, bytes } = this.#unread();
    const dropped = from - this.#read;
    const taken = bytes.length > limit ? cut(bytes, limit) : bytes;
    this.#readTo(from + taken.length);
    return {
      output: taken.toString(),
      truncated: taken.length < bytes.length,
      originalSize: bytes.length,
      isSnapshot: false,
      dropped,
    };
  }

  #readTo(offset: number): void {
    this.#read = Math.max(this.#read, offset);
    if (offset >= this.#terminal.drawn) this.#terminal.screen.mark();
  }

  /** What the next streaming read may return: no part of a character or of an escape sequence. */
  #unread(): { from: number; bytes: Buffer } {
    const { ring, isExited } = this.#terminal;
    const all = ring.read(this.#read, ring.end);
    const begin = ring.start > this.#read ? leadingContinuation(all) : 0;
    const bytes = all.subarray(begin, isExited ? all.length : all.length - unfinished(all));
    return { from: Math.max(this.#read, ring.start) + begin, bytes };
  }

  async #untilMatch(pattern: Pattern, options: TerminalReadOptions, over: Promise<void>): Promise<boolean> {
    let isOver = false;
    detached(over.then(() => (isOver = true)));
    using timers = new Timers();
    for (;;) {
      // Taken before the screen is drawn: output that comes while it is drawn must not be waited for twice.
      const { news } = this.#terminal;
      await this.#terminal.feed.settled();
      if (pattern.matches(this.#searched(options))) return true;
      if (isOver || this.#terminal.isExited) return false;
      const pause = timers.after(matchPause);
      await Promise.race([news, over]);
      await Promise.race([pause, over]);
    }
  }

  /** What a pattern is matched against: what this read would return. */
  #searched(options: TerminalReadOptions): Uint8Array {
    const { ring } = this.#terminal;
    const kind = this.#kind(options);
    if (kind !== 'streaming') return this.#text(kind);
    return ring.read(Math.max(this.#read, ring.end - patternWindow), ring.end);
  }

  /** Until output came and no more followed for a moment. */
  async #untilQuiet(over: Promise<void>): Promise<void> {
    let isOver = false;
    detached(over.then(() => (isOver = true)));
    using timers = new Timers();
    while (!isOver && !this.#terminal.isExited) {
      const { ring, news, quietFor } = this.#terminal;
      const left = ring.end > this.#read ? quiet - quietFor : undefined;
      if (left !== undefined && left <= 0) return;
      await Promise.race([news, over, ...(left === undefined ? [] : [timers.after(left + 1)])]);
    }
  }
}

function cut(bytes: Buffer, limit: number): Buffer {
  const piece = bytes.subarray(0, Math.max(limit, longestCharacter));
  const open = unfinished(piece);
  return piece.subarray(0, piece.length - (open < piece.length ? open : unfinishedUtf8(piece)));
}

function checkSize(name: string, value: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= largestSize) return value;
  throw new AppError(
    'invalid_argument',
    `${name}: expected a whole number of bytes from 1 to ${largestSize}; got ${value}.`,
  );
}
