/** How a string stands for bytes: as they are, or `\xNN` for each byte that is no UTF-8 and `\\` for each backslash. */
export type TextEncoding = 'utf-8' | 'escaped';

export interface DecodedText {
  readonly text: string;
  readonly encoding: TextEncoding;
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const BACKSLASH = 0x5c;

/** Valid UTF-8 as text; anything else escaped, so that the bytes can be had back and nothing is replaced unseen. */
export function decodeBytes(...parts: readonly Uint8Array[]): DecodedText[] {
  try {
    return parts.map((part) => ({ text: strict.decode(part), encoding: 'utf-8' }));
  } catch {
    return parts.map((part) => ({ text: escapeBytes(part), encoding: 'escaped' }));
  }
}

function escapeBytes(bytes: Uint8Array): string {
  const pieces: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = sequenceLength(bytes, at);
    const byte = bytes[at]!;
    if (length === 0) pieces.push(`\\x${byte.toString(16).padStart(2, '0')}`);
    else pieces.push(byte === BACKSLASH ? '\\\\' : strict.decode(bytes.subarray(at, at + length)));
    at += length || 1;
  }
  return pieces.join('');
}

/** Bytes of the valid UTF-8 sequence at `at`; 0 when there is none. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const length = expectedLength(bytes[at]!);
  if (length <= 1) return length;
  try {
    strict.decode(bytes.subarray(at, at + length));
    return at + length <= bytes.length ? length : 0;
  } catch {
    return 0;
  }
}

function expectedLength(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead < 0xe0) return 2;
  if (lead >= 0xe0 && lead < 0xf0) return 3;
  return lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
}

const isContinuation = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x80 && byte < 0xc0;

/** Bytes at the end (at most 3) that begin a character the cut took the rest of. */
export function cutAtEnd(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if (isContinuation(byte)) continue;
    return expectedLength(byte) > back ? back : 0;
  }
  return 0;
}

/** Bytes at the start (at most 3) that end a character the cut took the beginning of. */
export function cutAtStart(bytes: Uint8Array): number {
  let count = 0;
  while (count < 3 && isContinuation(bytes[count])) count++;
  return isContinuation(bytes[count]) ? 0 : count;
}
