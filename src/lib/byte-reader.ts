/** Reads a byte stream by lines first, then by chunks as they come. */
export class ByteReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  /** A line without its newline, or `null` where the stream ends or `limit` bytes pass without one. */
  async line(limit: number): Promise<string | null> {
    let held = this.#rest;
    let end = held.indexOf(0x0a);
    while (end < 0) {
      if (held.length > limit) return null;
      const { done, value } = await this.#reader.read();
      if (done) return null;
      held = held.length === 0 ? value : Buffer.concat([held, value]);
      end = held.indexOf(0x0a);
    }
    this.#rest = held.subarray(end + 1);
    return Buffer.from(held.subarray(0, end)).toString('utf8');
  }

  /** The next bytes, at least one, or `null` at the end. */
  async chunk(): Promise<Uint8Array | null> {
    const rest = this.#rest;
    this.#rest = new Uint8Array(0);
    if (rest.length > 0) return rest;
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) return null;
      if (value.length > 0) return value;
    }
  }

  async cancel(): Promise<void> {
    await this.#reader.cancel().catch(() => {});
  }
}
