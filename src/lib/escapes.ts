import { unfinishedUtf8 } from './utf8.ts';

/** Longest escape sequence that is waited for; a longer one counts as finished. */
const longest = 4096;
const esc = 0x1b;
const bell = 0x07;
const carriageReturn = 0x0d;

/**
 * Bytes at the end that a terminal has not yet acted upon: the beginning of an escape sequence or of a UTF-8 character.
 */
export function unfinished(bytes: Uint8Array): number {
  const from = Math.max(0, bytes.length - longest);
  const tail = bytes.subarray(from);
  for (let at = tail.indexOf(esc); at >= 0;) {
    const end = sequenceEnd(tail, at);
    if (end === undefined) return tail.length - at;
    at = tail.indexOf(esc, end);
  }
  return unfinishedUtf8(bytes);
}

/** The text without escape sequences, carriage returns and bells. An unfinished sequence at the end goes, too. */
export function stripEscapes(bytes: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(bytes.length);
  let size = 0;
  for (let at = 0; at < bytes.length;) {
    const byte = bytes[at] ?? 0;
    if (byte === esc) {
      at = sequenceEnd(bytes, at) ?? bytes.length;
      continue;
    }
    if (byte !== carriageReturn && byte !== bell) out[size++] = byte;
    at += 1;
  }
  return out.subarray(0, size);
}

/** Index behind the escape sequence that begins at `at`; undefined when the bytes end in it. */
function sequenceEnd(bytes: Uint8Array, at: number): number | undefined {
  const kind = bytes[at + 1];
  if (kind === undefined) return undefined;
  if (kind === 0x5b) return skipWhile(bytes, at + 2, (byte) => byte >= 0x20 && byte <= 0x3f, 1);
  // DCS, SOS, OSC, PM, APC: a text until BEL or ESC \.
  if (kind === 0x50 || kind === 0x58 || (kind >= 0x5d && kind <= 0x5f)) return textEnd(bytes, at + 2);
  if (kind >= 0x20 && kind <= 0x2f) return skipWhile(bytes, at + 1, (byte) => byte >= 0x20 && byte <= 0x2f, 1);
  return at + 2;
}

function skipWhile(bytes: Uint8Array, at: number, inside: (byte: number) => boolean, last: number): number | undefined {
  for (let index = at; index < bytes.length; index++) {
    const byte = bytes[index] ?? 0;
    if (byte === esc) return index;
    if (!inside(byte)) return index + last;
  }
  return undefined;
}

function textEnd(bytes: Uint8Array, at: number): number | undefined {
  for (let index = at; index < bytes.length; index++) {
    if (bytes[index] === bell) return index + 1;
    if (bytes[index] !== esc) continue;
    if (index + 1 === bytes.length) return undefined;
    return bytes[index + 1] === 0x5c ? index + 2 : index;
  }
  return undefined;
}
