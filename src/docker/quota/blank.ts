import { open, rm, truncate, writeFile } from 'node:fs/promises';
import { tool } from '../tool.ts';

const block = 4096;

const fileSystem = [
  ['-q', '-m', '0', '-J', 'size=4'],
  ['-E', 'root_owner=1000:1000,lazy_itable_init=1,lazy_journal_init=1,nodiscard'],
].flat();

/** A part of an image that is no hole. */
interface Extent {
  readonly position: number;
  readonly bytes: Buffer;
}

/** An empty ext4 file system that belongs to user 1000: what of an image of that size is no hole, some 700 KB. */
export class Blank {
  readonly #size: number;
  readonly #extents: readonly Extent[];

  private constructor(size: number, extents: readonly Extent[]) {
    this.#size = size;
    this.#extents = extents;
  }

  /** Makes one of `size` bytes, for which `scratch` is a file for a moment. */
  static async make(size: number, scratch: string): Promise<Blank> {
    try {
      await writeFile(scratch, '', { mode: 0o600 });
      await truncate(scratch, size);
      await tool('mkfs.ext4', [...fileSystem, scratch]);
      await tool('debugfs', ['-w', '-R', 'rmdir lost+found', scratch]);
      return new Blank(size, await extentsOf(scratch));
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

async function extentsOf(path: string): Promise<Extent[]> {
  const listed = await tool('filefrag', ['-v', `-b${block}`, path]);
  await using file = await open(path, 'r');
  const extents: Extent[] = [];
  for (const [, first, last] of listed.matchAll(/^ *\d+: +(\d+)\.\. *(\d+):/gm)) {
    const position = Number(first) * block;
    const bytes = Buffer.alloc((Number(last) + 1) * block - position);
    const { bytesRead } = await file.read(bytes, 0, bytes.length, position);
    extents.push({ position, bytes: bytes.subarray(0, bytesRead) });
  }
  if (extents.length === 0) throw new Error(`filefrag finds nothing in a new file system: ${listed.slice(0, 200)}`);
  return extents;
}
