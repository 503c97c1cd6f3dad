import { open, type FileHandle } from 'node:fs/promises';

export interface CastHeader {
  readonly width: number;
  readonly height: number;
  /** What was run. */
  readonly command: string;
  readonly title: string;
}

export interface CastFileOptions {
  readonly path: string;
  readonly header: CastHeader;
  /** Bytes of the file at most. */
  readonly maxSize: number;
  /** Called with bytes as they are written. */
  readonly onBytes: (count: number) => void;
  /** Called once when it cannot be written; nothing more is. */
  readonly onError: (error: unknown) => void;
}

/** `o` output, `r` a new size as `80x24`, `m` a mark. */
export type CastCode = 'o' | 'r' | 'm';

/** Milliseconds for which lines are gathered before they are written. */
const gather = 200;
/** Characters that may wait to be written; more are left out. */
const mostWaiting = 4 * 1024 * 1024;
/** Bytes kept for the last mark. */
const reserve = 200;

/** A recording in the asciicast v2 format, written behind the back of who is recorded. */
export class CastFile {
  readonly #options: CastFileOptions;
  readonly #started = performance.now();
  #lines: string[] = [];
  #waiting = 0;
  #size = 0;
  #leftOut = 0;
  #full = false;
  #timer: NodeJS.Timeout | undefined;
  #file: Promise<FileHandle> | undefined;
  #writing: Promise<void> = Promise.resolve();
  #closed: Promise<void> | undefined;

  constructor(options: CastFileOptions) {
    this.#options = options;
    const timestamp = Math.floor(Date.now() / 1000);
    const { width, height, command, title } = options.header;
    this.#add({ version: 2, width, height, timestamp, command: command.slice(0, 4096), title });
  }

  get path(): string {
    return this.#options.path;
  }

  event(code: CastCode, text: string): void {
    if (this.#full || text === '') return;
    if (this.#waiting > mostWaiting) return void (this.#leftOut += text.length);
    if (this.#leftOut > 0) this.#add([this.#time(), 'm', `${this.#leftOut} characters were not recorded`]);
    this.#leftOut = 0;
    this.#add([this.#time(), code, text]);
  }

  /** Writes what waits. Idempotent; never rejects. */
  close(mark: string): Promise<void> {
    this.#closed ??= this.#close(mark);
    return this.#closed;
  }

  async #close(mark: string): Promise<void> {
    this.event('m', mark);
    this.#full = true;
    this.#flush();
    await this.#writing;
    await this.#file?.then((file) => file.close()).catch(() => {});
  }

  #time(): number {
    return Math.round((performance.now() - this.#started) * 1000) / 1e6;
  }

  #add(line: unknown): void {
    const text = `${JSON.stringify(line)}\n`;
    const size = Buffer.byteLength(text);
    if (this.#size + size > this.#options.maxSize - reserve) return this.#fill();
    this.#put(text, size);
  }

  /** Marks where the recording ends before what it records does. */
  #fill(): void {
    this.#full = true;
    const line = `${JSON.stringify([this.#time(), 'm', `the recording ends here: ${this.#options.maxSize} bytes are allowed`])}\n`;
    this.#put(line, Buffer.byteLength(line));
  }

  #put(text: string, size: number): void {
    this.#size += size;
    this.#waiting += text.length;
    this.#lines.push(text);
    this.#timer ??= setTimeout(() => this.#flush(), gather).unref();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const text = this.#lines.join('');
    this.#lines = [];
    if (text === '') return;
    this.#writing = this.#writing.then(() => this.#write(text));
  }

  async #write(text: string): Promise<void> {
    try {
      this.#file ??= open(this.#options.path, 'ax', 0o600);
      const bytes = Buffer.from(text);
      await (await this.#file).appendFile(bytes);
      this.#options.onBytes(bytes.length);
    } catch (error) {
      if (!this.#full) this.#options.onError(error);
      this.#full = true;
    } finally {
      this.#waiting -= text.length;
    }
  }
}
