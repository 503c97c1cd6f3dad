import { AppError } from '../../errors.ts';

/** Bytes of a part's headers, and of what stands before the first part. */
const longestHead = 16 * 1024;

export interface FileField {
  /** The name without directories. */
  readonly name: string;
  /** Errors where the body ends before the field does. */
  readonly bytes: AsyncIterable<Uint8Array>;
}

/**
 * The field `file` of a multipart body (RFC 7578), which has to be its first: its bytes are read as they come. Rejects
 * `invalid_argument` for another body.
 */
export async function fileField(
  source: AsyncIterable<Uint8Array>,
  contentType: string | undefined,
): Promise<FileField> {
  const [, quoted, plain] =
    /^multipart\/form-data\s*;.*\bboundary=(?:"([^"]{1,70})"|([^\s;]{1,70}))/i.exec(contentType ?? '') ?? [];
  const boundary = quoted ?? plain;
  if (boundary === undefined) throw invalid('expected multipart/form-data with a boundary');
  const reader = new Reader(source);
  await reader.until(Buffer.from(`--${boundary}\r\n`));
  const head = (await reader.until(Buffer.from('\r\n\r\n'))).toString();
  const name = nameOf(head);
  return { name, bytes: reader.field(Buffer.from(`\r\n--${boundary}`)) };
}

function nameOf(head: string): string {
  const line = head.split('\r\n').find((one) => /^content-disposition:/i.test(one)) ?? '';
  if (!/;\s*name="?file"?\s*(;|$)/i.test(line)) throw invalid('expected the field "file" first');
  const [, exact] = /;\s*filename\*=utf-8''([^;\s]+)/i.exec(line) ?? [];
  const [, given] = /;\s*filename="((?:[^"\\]|\\.)*)"/i.exec(line) ?? [];
  const name = (exact === undefined ? unescaped(given ?? '') : decoded(exact)).split('/').at(-1) ?? '';
  if (name === '' || name === '.' || name === '..' || name.includes('\0')) throw invalid('expected a file name');
  return name;
}

/** As browsers write it: a quote is `%22`. */
function unescaped(name: string): string {
  return name
    .replace(/\\(["\\])/g, '$1')
    .replaceAll('%22', '"')
    .replaceAll('%0D', '\r')
    .replaceAll('%0A', '\n');
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new AppError('invalid_argument', 'file: expected a name in UTF-8.', { cause });
  }
}

class Reader {
  readonly #iterator: AsyncIterator<Uint8Array>;
  #held = Buffer.alloc(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#iterator = source[Symbol.asyncIterator]();
  }

  /** What stands before the mark, which is passed over. */
  async until(mark: Buffer): Promise<Buffer> {
    for (;;) {
      const at = this.#held.indexOf(mark);
      if (at >= 0) return this.#take(at, mark.length);
      if (this.#held.length > longestHead) throw invalid('expected a field with a short header');
      await this.#more();
    }
  }

  /** The bytes before the mark, and then the rest of the body to nobody. */
  async *field(mark: Buffer): AsyncGenerator<Uint8Array> {
    for (;;) {
      const at = this.#held.indexOf(mark);
      if (at >= 0) {
        yield this.#take(at, mark.length);
        return await this.#drain();
      }
      const safe = this.#held.length - mark.length + 1;
      if (safe > 0) yield this.#take(safe, 0);
      await this.#more();
    }
  }

  #take(size: number, passed: number): Buffer {
    const taken = this.#held.subarray(0, size);
    this.#held = this.#held.subarray(size + passed);
    return taken;
  }

  async #more(): Promise<void> {
    const { done, value } = await this.#iterator.next();
    if (done) throw invalid('the body ended before its field did; nothing was kept');
    this.#held = this.#held.length === 0 ? Buffer.from(value) : Buffer.concat([this.#held, value]);
  }

  async #drain(): Promise<void> {
    while (!(await this.#iterator.next()).done);
  }
}

function invalid(why: string): AppError {
  return new AppError('invalid_argument', `file: ${why}.`);
}
