import { statfs } from 'node:fs/promises';
import { AppError } from '../../../errors.ts';
import type { Engine } from '../client.ts';
import type { QuotaOptions } from './choose.ts';

/** Rejects `disk_full` while the disks that workspaces grow on, as far as they can be seen from here, have less than the reserve. */
export async function checkReserve(engine: Engine, quota: QuotaOptions | undefined): Promise<void> {
  if (!quota || quota.reserve === 0) return;
  const root = engine.address.socketPath === undefined ? [] : [await dataRoot(engine)];
  for (const directory of [quota.directory, ...root]) {
    const free = await freeBytes(directory);
    if (free !== undefined && free < quota.reserve) throw short(free, quota.reserve);
  }
}

const roots = new WeakMap<Engine, Promise<string>>();

function dataRoot(engine: Engine): Promise<string> {
  const known = roots.get(engine);
  if (known) return known;
  const asked = engine
    .call({ doing: 'describe itself' }, () => engine.docker.info() as Promise<{ DockerRootDir: string }>)
    .then(({ DockerRootDir }) => DockerRootDir);
  roots.set(engine, asked);
  asked.catch(() => roots.delete(engine));
  return asked;
}

/** `undefined` where the directory is not to be seen. */
async function freeBytes(directory: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}

function short(free: number, reserve: number): AppError {
  const [left, least] = [free, reserve].map((bytes) => `${Math.floor(bytes / 1024 ** 2)} MiB`);
  return new AppError(
    'disk_full',
    `The host has ${left} of disk left, less than its reserve of ${least}, so no sandbox is started; try again when there is room.`,
    { data: { retry_after: 60 } },
  );
}
