const longestName = 24;
const newline = 0x0a;

/**
 * Gives the shell's messages the name they have outside Berth: the host feeds a command as a file `/proc/1/fd/N`, so
 * bash begins its messages with `/proc/1/fd/N: line K:`. At the beginning of a line that becomes `bash: line K:`.
 * Other bytes pass unchanged. Bytes that may begin such a name are held until the next ones decide.
 */
export class ScriptName {
  #held: Buffer = Buffer.alloc(0);
  #atLineStart = true;

  push(chunk: Uint8Array): Uint8Array {
    const bytes = this.#held.length > 0 ? Buffer.concat([this.#held, chunk]) : view(chunk);
    this.#held = Buffer.alloc(0);
    const out: Uint8Array[] = [];
    let copied = 0;
    for (let at = this.#atLineStart ? 0 : nextLine(bytes, 0); at < bytes.length; at = nextLine(bytes, at)) {
      const length = nameLength(bytes, at);
      if (length === undefined) {
        this.#held = Buffer.from(bytes.subarray(at));
        this.#atLineStart = true;
        out.push(bytes.subarray(copied, at));
        return join(out);
      }
      if (length === 0) continue;
      out.push(bytes.subarray(copied, at), replacement);
      copied = at + length;
    }
    if (bytes.length > 0) this.#atLineStart = bytes[bytes.length - 1] === newline;
    out.push(bytes.subarray(copied));
    return join(out);
  }

  /** What was held, once no more bytes come. */
  flush(): Uint8Array {
    const held = this.#held;
    this.#held = Buffer.alloc(0);
    if (held.length > 0) this.#atLineStart = false;
    return held;
  }
}

const replacement = Buffer.from('bash: line ');
const pattern = /^\/proc\/1\/fd\/\d{1,7}: line /;
const beginnings = /^\/(p(r(o(c(\/(1(\/(f(d(\/(\d{1,7}(:( (l(i(n(e)?)?)?)?)?)?)?)?)?)?)?)?)?)?)?)?)?$/;

/** Length of the name that begins at `at`; 0 = none; undefined = the bytes end before that is known. */
function nameLength(bytes: Buffer, at: number): number | undefined {
  if (bytes[at] !== 0x2f) return 0;
  const text = bytes.toString('latin1', at, at + longestName + 8);
  const match = pattern.exec(text);
  if (match) return match[0].length;
  return at + text.length === bytes.length && beginnings.test(text) ? undefined : 0;
}

function nextLine(bytes: Buffer, at: number): number {
  const end = bytes.indexOf(newline, at);
  return end < 0 ? bytes.length : end + 1;
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const filled = parts.filter((part) => part.length > 0);
  return filled.length === 1 && filled[0] ? filled[0] : Buffer.concat(filled);
}
