/** Bytes that one control string (a title, a clipboard, a device string) may have. */
const longest = 64 * 1024;
const cancel = Buffer.from([0x18]);
/** ESC, BEL, CAN and SUB end a control string. */
const ends = [0x1b, 0x07, 0x18, 0x1a];

/**
 * Puts CAN, which does nothing outside a control string and ends one, into a stream that has not ended any for long: the
 * emulator would collect megabytes.
 */
export class StringBound {
  /** Bytes since the last one that ends a control string. */
  #since = 0;

  /** The pieces to write in place of the bytes. */
  pass(bytes: Uint8Array): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    let rest = bytes;
    while (this.#since + rest.length > longest) {
      const first = rest.subarray(0, Math.max(1, longest - this.#since));
      const last = lastEnd(first);
      if (last < 0) {
        const cut = characterStart(rest, first.length);
        pieces.push(rest.subarray(0, cut), cancel);
        rest = rest.subarray(cut);
        this.#since = 0;
      } else {
        pieces.push(rest.subarray(0, last + 1));
        rest = rest.subarray(last + 1);
        this.#since = 0;
      }
    }
    const last = lastEnd(rest);
    this.#since = last < 0 ? this.#since + rest.length : rest.length - last - 1;
    pieces.push(rest);
    return pieces;
  }
}

function lastEnd(bytes: Uint8Array): number {
  return Math.max(...ends.map((end) => bytes.lastIndexOf(end)));
}

/** The first index from `at` on that is not inside a UTF-8 character; at most 3 further. */
function characterStart(bytes: Uint8Array, at: number): number {
  for (let index = at; index < Math.min(bytes.length, at + 4); index++) {
    if (((bytes[index] ?? 0) & 0xc0) !== 0x80) return index;
  }
  return Math.min(bytes.length, at + 4);
}
