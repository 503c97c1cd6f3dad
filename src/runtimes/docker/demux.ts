/** A piece of one of a process's streams: 1 = stdout, 2 = stderr. */
export interface Piece {
  readonly stream: 1 | 2;
  readonly bytes: Uint8Array;
}

const headerLength = 8;

/** Where a piece is in a chunk. */
interface Span {
  readonly stream: 1 | 2;
  readonly from: number;
  to: number;
}

/**
 * Takes apart the engine's multiplexed stream: frames of stream number, three zero bytes, length u32 big-endian, bytes.
 * Pieces are handed on before their frame is complete, so nothing is ever buffered but a header.
 */
export class Demux {
  readonly #header = Buffer.alloc(headerLength);
  #headerFilled = 0;
  #left = 0;

  /**
   * Takes the chunk over: pieces are views of it, and one stream's bytes are moved together over the headers between
   * them, since the engine's frames are often 4 KiB and each piece costs its reader the same however short it is.
   */
  push(chunk: Buffer): Piece[] {
    const spans: Span[] = [];
    for (let at = 0; at < chunk.length;) {
      if (this.#left === 0) {
        at += this.#fillHeader(chunk, at);
        continue;
      }
      const length = Math.min(this.#left, chunk.length - at);
      this.#place(spans, chunk, at, length);
      at += length;
      this.#left -= length;
    }
    return spans.map(({ stream, from, to }) => ({ stream, bytes: chunk.subarray(from, to) }));
  }

  #place(spans: Span[], chunk: Buffer, at: number, length: number): void {
    const stream = this.#header[0] === 2 ? 2 : 1;
    const last = spans.at(-1);
    if (last?.stream !== stream) return void spans.push({ stream, from: at, to: at + length });
    chunk.copyWithin(last.to, at, at + length);
    last.to += length;
  }

  /** True between two frames: a stream that ends elsewhere was cut. */
  get whole(): boolean {
    return this.#left === 0 && this.#headerFilled === 0;
  }

  #fillHeader(chunk: Buffer, at: number): number {
    const taken = chunk.copy(this.#header, this.#headerFilled, at);
    this.#headerFilled += taken;
    if (this.#headerFilled < headerLength) return taken;
    if (this.#header.readUInt32BE(0) & 0x00ffffff || this.#header[0]! > 3)
      throw new Error(`the engine's stream is not multiplexed: header ${this.#header.toString('hex')}`);
    this.#headerFilled = 0;
    this.#left = this.#header.readUInt32BE(4);
    return taken;
  }
}
