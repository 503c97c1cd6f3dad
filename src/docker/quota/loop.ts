import { existsSync } from 'node:fs';
import { mkdir, open, readdir, readFile, realpath, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Quota, QuotaVolume } from './quota.ts';
import { tool } from '../tool.ts';

const suffix = '.img';
const attempts = 5;

/** What a sandbox sees as its workspace's device, so that it learns nothing of the host's paths. */
const links = '/dev/berth';

/** Nothing in the workspace acts as another user or a device; freed blocks go back to the host at once. */
const mountOptions = 'nosuid,nodev,noinit_itable,discard';

const fileSystem = [
  ['-q', '-m', '0', '-J', 'size=4'],
  ['-E', 'root_owner=1000:1000,lazy_itable_init=1,lazy_journal_init=1,nodiscard'],
].flat();

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

  constructor(directory: string) {
    this.#directory = directory;
  }

  options({ name }: QuotaVolume): Record<string, string> {
    return { type: 'ext4', device: this.#link(name), o: mountOptions };
  }

  async prepare({ name, size }: QuotaVolume): Promise<boolean> {
    const image = this.#image(name);
    if (size === undefined || existsSync(image)) return false;
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const unfinished = `${image}.new`;
    await writeFile(unfinished, '', { mode: 0o600 });
    await truncate(unfinished, size);
    await tool('mkfs.ext4', [...fileSystem, unfinished]);
    await tool('debugfs', ['-w', '-R', 'rmdir lost+found', unfinished]);
    await rename(unfinished, image);
    return true;
  }

  async hold(name: string): Promise<AsyncDisposable> {
    const image = this.#image(name);
    // A volume that was made before workspaces were bounded stays as it is.
    if (!existsSync(image)) return { [Symbol.asyncDispose]: async () => {} };
    const held = await attach(await realpath(image));
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

  async drop(name: string): Promise<void> {
    await rm(this.#link(name), { force: true });
    await rm(this.#image(name), { force: true });
  }

  #image(name: string): string {
    return join(this.#directory, name + suffix);
  }

  #link(name: string): string {
    return join(links, name);
  }
}

interface Held extends AsyncDisposable {
  readonly device: string;
}

/** The image's loop device, open, so that it stays the image's whoever lets go of it meanwhile. */
async function attach(image: string): Promise<Held> {
  for (let attempt = 1; attempt <= attempts; attempt += 1) {
    const device = (await attached(image)) ?? (await tool('losetup', ['--find', '--show', image])).trim();
    const held = await openDevice(device, image);
    if (held) return held;
  }
  throw new Error(`no loop device stays with ${image}`);
}

/** The device that the image has already, for a container that is about to end. */
async function attached(image: string): Promise<string | undefined> {
  const devices = (await readdir('/sys/block')).filter((name) => name.startsWith('loop'));
  const backings = await Promise.all(devices.map(backingOf));
  const at = backings.indexOf(image);
  return at < 0 ? undefined : `/dev/${devices[at]}`;
}

/** The file behind a loop device; empty where there is none. */
async function backingOf(device: string): Promise<string> {
  const text = await readFile(`/sys/block/${device}/loop/backing_file`, 'utf8').catch(() => '');
  return text.trim();
}

/**
 * Marks the device to be freed with its last user, which this is until a container has mounted it: the kernel cleans
 * up after whoever dies in between.
 */
async function openDevice(device: string, image: string): Promise<Held | undefined> {
  const file = await open(device, 'r');
  try {
    if ((await backingOf(basename(device))) !== image) return void (await file.close());
    await tool('losetup', ['--detach', device]);
    return { device, [Symbol.asyncDispose]: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}
