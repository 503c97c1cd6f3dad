/** A piece of a stream in which the shell sets marks: bytes that a process wrote, or the text of a mark. */
export type Piece = { readonly bytes: Buffer } | { readonly mark: string };

const longestMark = 64 * 1024;

/** Finds the marks `NONCE text NUL` in a stream, also where they are cut into several chunks. */
export class MarkedStream {
  readonly #nonce: Buffer;
  #rest = Buffer.alloc(0);

  constructor(nonce: string) {
    this.#nonce = Buffer.from(nonce);
  }

  *push(chunk: Uint8Array): Generator<Piece> {
    const held = this.#rest;
    this.#rest = Buffer.concat([held, chunk]);
    for (let at = this.#rest.indexOf(this.#nonce); at >= 0; at = this.#rest.indexOf(this.#nonce)) {
      const from = at + this.#nonce.length;
      const end = this.#rest.indexOf(0, from);
      if (at > 0) yield { bytes: this.#take(at) };
      if (end < 0 && this.#rest.length < longestMark) return;
      // A mark without an end is none: somebody wrote the nonce.
      if (end < 0) yield { bytes: this.#take(this.#nonce.length) };
      else
        yield {
          mark: this.#take(end + 1 - at)
            .subarray(this.#nonce.length, -1)
            .toString(),
        };
    }
    const free = this.#rest.length - this.#unfinished();
    if (free > 0) yield { bytes: this.#take(free) };
  }

  #take(length: number): Buffer {
    const bytes = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    return bytes;
  }

  /** How many of the last bytes may be the beginning of a nonce. */
  #unfinished(): number {
    const most = Math.min(this.#nonce.length - 1, this.#rest.length);
    for (let length = most; length > 0; length--) {
      if (this.#rest.subarray(-length).equals(this.#nonce.subarray(0, length))) return length;
    }
    return 0;
  }
}
