import { type FileHandle, open, rm, truncate, writeFile } from 'node:fs/promises';
import { tool } from '../tool.ts';
import type { Owner } from './owner.ts';

const block = 4096;

const fileSystem = ({ uid, gid }: Owner): string[] => {
  const extended = `root_owner=${uid}:${gid},lazy_itable_init=1,lazy_journal_init=1,nodiscard`;
  return ['-q', '-m', '0', '-J', 'size=4', '-E', extended];
};

/** A part of an image that is no hole. */
interface Extent {
  readonly position: number;
  readonly bytes: Buffer;
}

/** An empty ext4 file system that belongs to the sandboxes' user: what of an image of that size is no hole, some 700 KB. */
export class Blank {
  readonly #size: number;
  readonly #extents: readonly Extent[];

  private constructor(size: number, extents: readonly Extent[]) {
    this.#size = size;
    this.#extents = extents;
  }

  /** Makes one of `size` bytes, for which `scratch` is a file for a moment. */
  static async make(size: number, owner: Owner, scratch: string): Promise<Blank> {
    try {
      await writeFile(scratch, '', { mode: 0o600 });
      await truncate(scratch, size);
      await tool('mkfs.ext4', [...fileSystem(owner), scratch]);
      await tool('debugfs', ['-w', '-R', 'rmdir lost+found', scratch]);
      return new Blank(size, await extentsOf(scratch, size));
    } finally {
      await rm(scratch, { force: true });
    }
  }

  /** Writes a copy to a new file that nobody else can read, as sparse as the first one. */
  async copyTo(path: string): Promise<void> {
    await using file = await open(path, 'w', 0o600);
    await file.truncate(this.#size);
    for (const { position, bytes } of this.#extents) await file.write(bytes, 0, bytes.length, position);
  }
}

/** Asked of the file system, or found by reading where that keeps no such list (tmpfs). */
async function extentsOf(path: string, size: number): Promise<readonly Extent[]> {
  await using file = await open(path, 'r');
  const ranges = (await listedRanges(path)) ?? (await foundRanges(file, size));
  if (ranges.length === 0) throw new Error('a new file system has no bytes');
  const extents: Extent[] = [];
  for (const { position, length } of ranges) {
    const bytes = Buffer.alloc(length);
    const { bytesRead } = await file.read(bytes, 0, length, position);
    extents.push({ position, bytes: bytes.subarray(0, bytesRead) });
  }
  return extents;
}

interface Range {
  readonly position: number;
  readonly length: number;
}

async function listedRanges(path: string): Promise<readonly Range[] | undefined> {
  const listed = await tool('filefrag', ['-v', `-b${block}`, path]).catch(() => '');
  const ranges = [...listed.matchAll(/^ *\d+: +(\d+)\.\. *(\d+):/gm)].map(([, first, last]) => {
    return { position: Number(first) * block, length: (Number(last) + 1 - Number(first)) * block };
  });
  return ranges.length > 0 ? ranges : undefined;
}

const piece = 1024 ** 2;

/** The pieces that are not all zeros. Some seconds for many gigabytes, once for each size. */
async function foundRanges(file: FileHandle, size: number): Promise<readonly Range[]> {
  const ranges: Range[] = [];
  const [bytes, zeros] = [Buffer.alloc(piece), Buffer.alloc(piece)];
  for (let position = 0; position < size; position += piece) {
    const { bytesRead } = await file.read(bytes, 0, piece, position);
    for (let at = 0; at < bytesRead; at += block) {
      const length = Math.min(block, bytesRead - at);
      if (bytes.compare(zeros, 0, length, at, at + length) !== 0) ranges.push({ position: position + at, length });
    }
  }
  return ranges;
}
