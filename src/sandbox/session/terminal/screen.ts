// oxlint-disable-next-line import/default -- Node loads the CommonJS build, which is one default export.
import serialize from '@xterm/addon-serialize';
import headless from '@xterm/headless';
import { StringBound } from './string-bound.ts';
import { guardTerminal } from './guard.ts';

export interface Size {
  readonly rows: number;
  readonly cols: number;
}

export interface ScreenOptions extends Size {
  /** Lines kept above the screen. */
  readonly scrollback: number;
  /** What the terminal answers to the program's questions (device status, attributes). */
  readonly answer: (text: string) => void;
}

/** What moves the cursor to another line or moves lines: up, to a place, insert, delete, scroll, restore. */
const movements = {
  csi: ['A', 'F', 'H', 'f', 'd', 'L', 'M', 'S', 'T', 'r', 'u'].map((final) => ({ final })),
  esc: [{ final: 'M' }, { final: '8' }, { final: 'c' }],
};
const reset = '\x1bc';
/** Bytes of output that the emulator takes before it looks at the clock. */
const largestSlice = 1024;
const smallestSlice = 64;
const sliceCells = 2_000_000;
/** Cells of scrollback, which cost 12 bytes each and up to ten times as much when every one is decorated. */
const maxCells = 200_000;

/** A terminal's screen as a person would see it. */
export class Screen implements Disposable {
  readonly #terminal: headless.Terminal;
  readonly #serializer = new serialize.SerializeAddon();
  readonly #bound = new StringBound();
  readonly #scrollback: number;
  /** The line at which somebody last looked; undefined before that. */
  #mark: headless.IMarker | undefined;
  #moved = false;

  constructor({ rows, cols, scrollback, answer }: ScreenOptions) {
    // A binary flood makes the parser complain of every byte.
    const kept = scrollbackOf({ rows, cols }, scrollback);
    this.#terminal = new headless.Terminal({ rows, cols, scrollback: kept, allowProposedApi: true, logLevel: 'off' });
    this.#scrollback = scrollback;
    guardTerminal(this.#terminal);
    for (const id of movements.csi) this.#terminal.parser.registerCsiHandler(id, () => this.#note());
    for (const id of movements.esc) this.#terminal.parser.registerEscHandler(id, () => this.#note());
    this.#terminal.loadAddon(this.#serializer);
    this.#terminal.onData(answer);
  }

  /** Draws bytes, which must not change until then; resolves with the milliseconds it took. */
  draw(bytes: Uint8Array): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    let begun = 0;
    this.#terminal.write('', () => (begun = performance.now()));
    const pieces = this.#bound.pass(bytes).flatMap((part) => split(part, this.#slice));
    for (const piece of pieces) this.#terminal.write(piece);
    this.#terminal.write('', () => resolve(performance.now() - begun));
    return promise;
  }

  /** Bytes that are drawn in one go; a larger screen costs more to draw. */
  get #slice(): number {
    const cells = this.#terminal.rows * this.#terminal.cols;
    return Math.max(smallestSlice, Math.min(largestSlice, Math.floor(sliceCells / cells)));
  }

  resize(size: Size): void {
    this.#terminal.options.scrollback = scrollbackOf(size, this.#scrollback);
    this.#terminal.resize(size.cols, size.rows);
  }

  get size(): Size {
    return { rows: this.#terminal.rows, cols: this.#terminal.cols };
  }

  /** From 0. */
  get cursor(): { row: number; col: number } {
    const { cursorX, cursorY } = this.#terminal.buffer.active;
    return { row: cursorY, col: Math.min(cursorX, this.#terminal.cols - 1) };
  }

  /** True while a full-screen program shows. */
  get alternate(): boolean {
    return this.#terminal.buffer.active.type === 'alternate';
  }

  get applicationCursor(): boolean {
    return this.#terminal.modes.applicationCursorKeysMode;
  }

  /** The program wants to know what is pasted from what is typed. */
  get bracketedPaste(): boolean {
    return this.#terminal.modes.bracketedPasteMode;
  }

  /** Whether the cursor was moved, since the last call, in a way that lines alone don't tell. */
  takeMoved(): boolean {
    const moved = this.#moved;
    this.#moved = false;
    return moved;
  }

  /** Remembers the cursor's line as the one up to which somebody has seen the output. */
  mark(): void {
    // The alternate screen has no marks; the one of the main screen stays.
    if (this.alternate) return;
    this.#mark?.dispose();
    this.#mark = this.#terminal.registerMarker(0);
  }

  /** The screen, with the lines above it since the mark; without a mark all that are kept. */
  rowsSinceMark(): string[] {
    const { baseY } = this.#terminal.buffer.active;
    // A mark's line is -1 when it has left the scrollback.
    return this.#rowsFrom(this.alternate ? baseY : Math.max(0, Math.min(baseY, this.#mark?.line ?? 0)));
  }

  /** The rows as far as something was written in them; empty rows at the bottom are left out. */
  rows(): string[] {
    return this.#rowsFrom(this.#terminal.buffer.active.baseY);
  }

  #rowsFrom(first: number): string[] {
    const buffer = this.#terminal.buffer.active;
    const rows: string[] = [];
    for (let row = first; row < buffer.baseY + this.#terminal.rows; row++) {
      rows.push(buffer.getLine(row)?.translateToString(true) ?? '');
    }
    while (rows.at(-1) === '') rows.pop();
    return rows;
  }

  /** False leaves the sequence to the emulator. */
  #note(): false {
    this.#moved = true;
    return false;
  }

  /** Bytes that bring any terminal of this size to this state. */
  repaint(): Uint8Array {
    return Buffer.from(reset + this.#serializer.serialize());
  }

  [Symbol.dispose](): void {
    this.#terminal.dispose();
  }
}

function scrollbackOf({ cols }: Size, wanted: number): number {
  return Math.min(wanted, Math.floor(maxCells / cols));
}

function split(bytes: Uint8Array, size: number): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) parts.push(bytes.subarray(at, at + size));
  return parts;
}
