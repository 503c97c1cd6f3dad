/** The last `capacity` bytes of a stream, addressed by their offset in it. Memory grows with what is held. */
export class ByteRing {
  readonly capacity: number;
  #bytes: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;
  /** Where in `#bytes` the byte at `#start` is. */
  #at = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  /** Offset of the oldest byte held. */
  get start(): number {
    return this.#start;
  }

  /** Offset behind the newest byte. */
  get end(): number {
    return this.#end;
  }

  get length(): number {
    return this.#end - this.#start;
  }

  /** Bytes of memory in use. */
  get allocated(): number {
    return this.#bytes.length;
  }

  /** Bytes that can be added before the oldest ones go. */
  get room(): number {
    return this.capacity - this.length;
  }

  append(bytes: Uint8Array): void {
    const kept = bytes.subarray(Math.max(0, bytes.length - this.capacity));
    const size = Math.min(this.capacity, this.length + bytes.length);
    if (size > this.#bytes.length) this.#resize(Math.min(this.capacity, Math.max(size, 2 * this.#bytes.length)));
    this.#end += bytes.length;
    const begin = this.#end - size;
    this.#advance(begin);
    this.#put(kept, this.#end - kept.length - this.#start);
  }

  /** Moves the end to `offset` over bytes that never came; what was held before the gap goes. */
  skipTo(offset: number): void {
    this.#start = this.#end = offset;
    this.#at = 0;
  }

  /** A copy of the bytes held between two offsets. */
  read(from: number, to: number): Buffer {
    const begin = Math.max(from, this.#start);
    const size = Math.max(0, Math.min(to, this.#end) - begin);
    const out = Buffer.allocUnsafeSlow(size);
    if (size === 0) return out;
    const at = (this.#at + begin - this.#start) % this.#bytes.length;
    const first = this.#bytes.copy(out, 0, at, Math.min(this.#bytes.length, at + size));
    this.#bytes.copy(out, first, 0, size - first);
    return out;
  }

  /** Drops the bytes before `offset` and gives back memory that is not needed for the rest. */
  trim(offset: number): void {
    this.#advance(Math.min(Math.max(offset, this.#start), this.#end));
    this.#resize(this.length);
  }

  #advance(start: number): void {
    if (start <= this.#start) return;
    this.#at = this.#bytes.length === 0 ? 0 : (this.#at + start - this.#start) % this.#bytes.length;
    this.#start = start;
  }

  #resize(size: number): void {
    const held = this.read(this.#start, this.#end);
    const bytes = held.length === size ? held : Buffer.allocUnsafeSlow(size);
    if (bytes !== held) held.copy(bytes);
    this.#bytes = bytes;
    this.#at = 0;
  }

  #put(bytes: Uint8Array, index: number): void {
    if (bytes.length === 0) return;
    const at = (this.#at + index) % this.#bytes.length;
    const first = bytes.subarray(0, this.#bytes.length - at);
    this.#bytes.set(first, at);
    this.#bytes.set(bytes.subarray(first.length), 0);
  }
}
