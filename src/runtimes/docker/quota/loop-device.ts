import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { text } from 'node:stream/consumers';
import { toolPath } from '../tool.ts';

/** A loop device that stays as long as it is held. */
export interface Held extends AsyncDisposable {
  readonly device: string;
}

const attempts = 5;

/**
 * Attaches the image ($1), unless it has a device ($2), and marks that to be freed with its last user: this shell, until
 * a container has mounted it. The kernel cleans up after whoever dies in between.
 */
const script = `
device=\${2:-$(losetup --find --show "$1")} || exit
exec 3<"$device" && losetup --detach "$device" && echo "$device" && read _`;

/** The image's loop device, open, so that it stays the image's whoever lets go of it meanwhile. */
export async function holdDevice(image: string): Promise<Held> {
  for (let attempt = 1; attempt <= attempts; attempt += 1) {
    const held = await hold(image, await attached(image));
    if ((await backingOf(basename(held.device))) === image) return held;
    await held[Symbol.asyncDispose]();
  }
  throw new Error(`no loop device stays with ${image}`);
}

async function hold(image: string, device = ''): Promise<Held> {
  const child = spawn('sh', ['-c', script, 'sh', image, device], { env: { ...process.env, PATH: toolPath } });
  child.stdin.on('error', () => {});
  const complaint = text(child.stderr);
  const exited = once(child, 'exit');
  const line = await Promise.race([once(child.stdout, 'data').then(String), exited.then(() => '')]);
  if (!line) throw new Error(`losetup: ${(await complaint).trim()}`);
  const release = async () => {
    child.stdin.end();
    await exited;
  };
  return { device: line.trim(), [Symbol.asyncDispose]: release };
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
  const path = await readFile(`/sys/block/${device}/loop/backing_file`, 'utf8').catch(() => '');
  return path.trim();
}
