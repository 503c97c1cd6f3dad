export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/**
 * The single range a `Range` header asks for, of a file of `size` bytes. `undefined` = answer with the whole file, as for
 * several ranges or another unit; `null` = no byte of it exists (416).
 */
export function parseRange(header: string | undefined, size: number): ByteRange | null | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/i.exec(header?.replace(/\s/g, '') ?? '');
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '') return last === '' ? undefined : suffix(Number(last), size);
  const offset = Number(first);
  const end = last === '' ? size : Math.min(Number(last) + 1, size);
  if (last !== '' && Number(last) < offset) return undefined;
  return offset >= size ? null : { offset, length: end - offset };
}

function suffix(wanted: number, size: number): ByteRange | null {
  const length = Math.min(wanted, size);
  return length === 0 ? null : { offset: size - length, length };
}
