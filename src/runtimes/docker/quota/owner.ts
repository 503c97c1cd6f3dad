import type { Engine } from '../client.ts';

/** The user and group that a workspace's root belongs to, as the host's kernel counts them. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

const inside: Owner = { uid: 1000, gid: 1000 };

/** The sandboxes' user on the host: 1000, unless the engine maps users (`userns-remap`). */
export async function ownerOn(engine: Engine): Promise<Owner> {
  const info = await engine.call({ doing: 'describe itself' }, () => engine.docker.info() as Promise<Described>);
  return mappedOwner(info);
}

export interface Described {
  readonly DockerRootDir?: string;
  readonly SecurityOptions?: readonly string[] | null;
}

/**
 * An engine that maps users keeps its data in a directory named after the root of its sandboxes, `…/231072.231072`, and
 * says nowhere else which users those are.
 */
export function mappedOwner({ DockerRootDir = '', SecurityOptions }: Described): Owner {
  const mapped = SecurityOptions?.some((option) => option.startsWith('name=userns')) ?? false;
  const [, uid, gid] = /\/(\d+)\.(\d+)$/.exec(mapped ? DockerRootDir : '') ?? [];
  if (uid === undefined || gid === undefined) return inside;
  return { uid: Number(uid) + inside.uid, gid: Number(gid) + inside.gid };
}
