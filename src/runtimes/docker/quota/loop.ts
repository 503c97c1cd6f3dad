import { existsSync } from 'node:fs';
import { mkdir, readdir, realpath, rename, rm, stat, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Blank } from './blank.ts';
import { holdDevice } from './loop-device.ts';
import type { Owner } from './owner.ts';
import type { Quota, QuotaVolume } from './quota.ts';

const suffix = '.img';

/** What `stat` counts in, whatever the file system. */
const blockSize = 512;

/** What a sandbox sees as its workspace's device, so that it learns nothing of the host's paths. */
const links = '/dev/berth';

/** Nothing in the workspace acts as another user or a device; freed blocks go back to the host at once. */
const mountOptions = 'nosuid,nodev,noinit_itable,discard';

/**
 * A pool of sparse ext4 images, one for each workspace: a hard bound on bytes and on files. Needs root on the engine's
 * own host, in its mount namespace.
 *
 * The volume names a symbolic link as its device. A loop device is attached, and the link made, for the moment in which
 * a container starts. From then on the device lives by the mount alone: the kernel frees it with the last container,
 * so neither a reboot nor a killed server leaves one behind, and no link ever leads to a device that has become
 * another workspace's.
 */
export class LoopImages implements Quota {
  readonly kind = 'loop';
  readonly owned = true;
  readonly #directory: string;
  readonly #owner: Owner;
  /** By size. */
  readonly #blanks = new Map<number, Promise<Blank>>();

  constructor(directory: string, owner: Owner) {
    this.#directory = directory;
    this.#owner = owner;
  }

  options({ name }: QuotaVolume): Record<string, string> {
    return { type: 'ext4', device: this.#link(name), o: mountOptions };
  }

  async prepare({ name, size }: QuotaVolume): Promise<boolean> {
    const image = this.#image(name);
    if (size === undefined || existsSync(image)) return false;
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const unfinished = `${image}.new`;
    await (await this.#blank(size)).copyTo(unfinished);
    await rename(unfinished, image);
    return true;
  }

  async hold(name: string): Promise<AsyncDisposable> {
    const image = this.#image(name);
    // A volume that was made before workspaces were bounded stays as it is.
    if (!existsSync(image)) return { [Symbol.asyncDispose]: async () => {} };
    const held = await holdDevice(await realpath(image));
    const link = this.#link(name);
    await mkdir(links, { recursive: true });
    await rm(link, { force: true });
    await symlink(held.device, link);
    return {
      [Symbol.asyncDispose]: async () => {
        await rm(link, { force: true });
        await held[Symbol.asyncDispose]();
      },
    };
  }

  async list(): Promise<readonly string[]> {
    if (!existsSync(this.#directory)) return [];
    const files = await readdir(this.#directory);
    return files.filter((file) => file.endsWith(suffix)).map((file) => basename(file, suffix));
  }

  async sizes(): Promise<ReadonlyMap<string, number>> {
    const sizes = new Map<string, number>();
    for (const name of await this.list()) {
      const found = await stat(this.#image(name)).catch(() => undefined);
      if (found) sizes.set(name, found.blocks * blockSize);
    }
    return sizes;
  }

  async drop(name: string): Promise<void> {
    await rm(this.#link(name), { force: true });
    await rm(this.#image(name), { force: true });
  }

  #blank(size: number): Promise<Blank> {
    const known = this.#blanks.get(size);
    if (known) return known;
    const made = Blank.make(size, this.#owner, join(this.#directory, `blank-${size}-${process.pid}.new`));
    this.#blanks.set(size, made);
    made.catch(() => this.#blanks.delete(size));
    return made;
  }

  #image(name: string): string {
    return join(this.#directory, name + suffix);
  }

  #link(name: string): string {
    return join(links, name);
  }
}
