// oxlint-disable-next-line import/default -- Node loads the CommonJS build, which is one default export.
import serialize from '@xterm/addon-serialize';
import headless from '@xterm/headless';

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

const reset = '\x1bc';

/** A terminal's screen as a person would see it. */
export class Screen implements Disposable {
  readonly #terminal: headless.Terminal;
  readonly #serializer = new serialize.SerializeAddon();

  constructor({ rows, cols, scrollback, answer }: ScreenOptions) {
    // A binary flood makes the parser complain of every byte.
    this.#terminal = new headless.Terminal({ rows, cols, scrollback, allowProposedApi: true, logLevel: 'off' });
    this.#terminal.loadAddon(this.#serializer);
    this.#terminal.onData(answer);
  }

  /** Calls back when the bytes are on the screen. They must not change until then. */
  write(bytes: Uint8Array, done: () => void): void {
    this.#terminal.write(bytes, done);
  }

  /** Resolves when everything written so far is on the screen. */
  settled(): Promise<void> {
    return new Promise((resolve) => this.#terminal.write('', resolve));
  }

  resize({ rows, cols }: Size): void {
    this.#terminal.resize(cols, rows);
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

  /** The rows as far as something was written in them; empty rows at the bottom are left out. */
  rows(): string[] {
    const buffer = this.#terminal.buffer.active;
    const rows: string[] = [];
    for (let row = 0; row < this.#terminal.rows; row++) {
      rows.push(buffer.getLine(buffer.baseY + row)?.translateToString(true) ?? '');
    }
    while (rows.at(-1) === '') rows.pop();
    return rows;
  }

  /** Bytes that bring any terminal of this size to this state. */
  repaint(): Uint8Array {
    return Buffer.from(reset + this.#serializer.serialize());
  }

  [Symbol.dispose](): void {
    this.#terminal.dispose();
  }
}
