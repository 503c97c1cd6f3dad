import type { ByteReader } from '../../lib/byte-reader.ts';

const digits = 3;

/** The bytes of a stream up to a mark at its very end. Behind the mark come three digits: the exit code of what wrote them. */
export class MarkedBody {
  readonly #reader: ByteReader;
  readonly #mark: Uint8Array;
  #held: Uint8Array = new Uint8Array(0);
  /** The exit code, once the mark has come. */
  exitCode: number | null = null;

  constructor(reader: ByteReader, mark: string) {
    this.#reader = reader;
    this.#mark = Buffer.from(mark);
  }

  /** The next bytes, at least one, or `null` behind the last: with `exitCode` still null the stream broke off. */
  async next(): Promise<Uint8Array | null> {
    while (this.exitCode === null) {
      const chunk = await this.#reader.chunk();
      if (chunk === null) return null;
      const bytes = this.#take(chunk);
      if (bytes.length > 0) return bytes;
    }
    return null;
  }

  #take(chunk: Uint8Array): Uint8Array {
    const data = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const overlap = this.#overlap(data);
    const end = data.length - overlap;
    this.#held = overlap === 0 ? this.#held.subarray(0, 0) : data.slice(end);
    if (overlap === this.#mark.length + digits) this.exitCode = Number(Buffer.from(data.slice(-digits)).toString());
    return data.subarray(0, end);
  }

  /** How many bytes at the end of `data` may be the beginning of the mark. */
  #overlap(data: Uint8Array): number {
    const longest = Math.min(data.length, this.#mark.length + digits);
    for (let length = longest; length > 0; length -= 1) {
      if (this.#matches(data, data.length - length)) return length;
    }
    return 0;
  }

  #matches(data: Uint8Array, from: number): boolean {
    for (let i = from; i < data.length; i += 1) {
      const expected = this.#mark[i - from];
      const byte = data[i]!;
      if (expected === undefined ? byte < 0x30 || byte > 0x39 : byte !== expected) return false;
    }
    return true;
  }
}
