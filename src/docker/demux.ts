/** A piece of one of a process's streams: 1 = stdout, 2 = stderr. */
export interface Piece {
  readonly stream: 1 | 2;
  readonly bytes: Uint8Array;
}

const headerLength = 8;

/**
 * Takes apart the engine's multiplexed stream: frames of stream number, three zero bytes, length u32 big-endian, bytes.
 * Pieces are views of what is pushed, handed on before their frame is complete, so nothing is ever buffered but a header.
 */
export class Demux {
  readonly #header = Buffer.alloc(headerLength);
  #headerFilled = 0;
  #left = 0;

  *push(chunk: Buffer): Generator<Piece> {
    for (let at = 0; at < chunk.length;) {
      if (this.#left === 0) {
        at += this.#fillHeader(chunk, at);
        continue;
      }
      const bytes = chunk.subarray(at, at + this.#left);
      at += bytes.length;
      this.#left -= bytes.length;
      yield { stream: this.#header[0] === 2 ? 2 : 1, bytes };
    }
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
