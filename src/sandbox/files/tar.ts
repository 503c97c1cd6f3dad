/** One entry of a tar archive as it is written: no owner, no special types. */
export interface TarEntry {
  readonly name: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'link';
  readonly size: number;
  /** Permission bits. */
  readonly mode: number;
  /** Seconds since the epoch. */
  readonly mtime: number;
  readonly target?: string;
}

const block = 512;
const flags = { file: '0', link: '1', symlink: '2', directory: '5' } as const;
const nameLength = 100;
const largestOctal = 0o77777777777;

/** The end of an archive. */
export const tarEnd: Uint8Array = new Uint8Array(2 * block);

/** An entry's header in the form that GNU tar and busybox both read: ustar, with GNU's long names and large sizes. */
export function tarHeader(entry: TarEntry): Uint8Array {
  const name = Buffer.from(entry.type === 'directory' ? `${entry.name}/` : entry.name);
  const target = Buffer.from(entry.target ?? '');
  return Buffer.concat([
    ...(target.length > nameLength ? longField('K', target) : []),
    ...(name.length > nameLength ? longField('L', name) : []),
    header({ ...entry, name, target, flag: flags[entry.type] }),
  ]);
}

/** Zeros from the end of an entry's bytes to the next header. */
export function tarPadding(size: number): Uint8Array {
  return new Uint8Array((block - (size % block)) % block);
}

function longField(flag: 'K' | 'L', value: Buffer): Uint8Array[] {
  const size = value.length + 1;
  const name = Buffer.from('././@LongLink');
  const fields = { name, target: Buffer.alloc(0), size, mode: 0, mtime: 0, flag };
  return [header(fields), value, new Uint8Array(1), tarPadding(size)];
}

interface Fields {
  readonly name: Buffer;
  readonly target: Buffer;
  readonly size: number;
  readonly mode: number;
  readonly mtime: number;
  readonly flag: string;
}

function header({ name, target, size, mode, mtime, flag }: Fields): Buffer {
  const bytes = Buffer.alloc(block);
  name.copy(bytes, 0, 0, nameLength);
  octal(bytes, 100, 8, mode);
  octal(bytes, 108, 8, 0);
  octal(bytes, 116, 8, 0);
  number(bytes, 124, size);
  number(bytes, 136, mtime);
  bytes.fill(' ', 148, 156);
  bytes.write(flag, 156, 'latin1');
  target.copy(bytes, 157, 0, nameLength);
  bytes.write('ustar\u000000', 257, 'latin1');
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return bytes;
}

function octal(bytes: Buffer, at: number, length: number, value: number): void {
  bytes.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1');
}

/** Twelve bytes: octal, or base 256 for what octal cannot hold. */
function number(bytes: Buffer, at: number, value: number): void {
  if (value <= largestOctal) return octal(bytes, at, 12, value);
  bytes.writeUInt8(0x80, at);
  bytes.writeBigUInt64BE(BigInt(value), at + 4);
}
