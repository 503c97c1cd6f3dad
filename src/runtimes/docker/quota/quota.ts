import type { DiskQuota } from '../../../sandbox/ports/runtime.ts';
import type { Owner } from './owner.ts';

export type QuotaKind = DiskQuota['kind'];

/** A workspace's volume as the engine is asked for it. */
export interface QuotaVolume {
  readonly name: string;
  /** Bytes; absent = as much as the disk has. */
  readonly size?: number | undefined;
}

/** One way to bound the size of workspaces. */
export interface Quota {
  readonly kind: QuotaKind;
  /** The volume's root belongs to the sandboxes' user without being filled. */
  readonly owned: boolean;
  /** What was in the way of something better, for the operator. */
  readonly reason?: string;
  /** Options for the engine's `local` volume driver. */
  options(volume: QuotaVolume): Record<string, string>;
  /** Makes what the volume stands on. True when it was not there before. */
  prepare(volume: QuotaVolume): Promise<boolean>;
  /** Holds it in place while a container with the volume starts; disposed once that has started or failed. */
  hold(name: string): Promise<AsyncDisposable>;
  /** Names of the volumes that something was prepared for, whether the engine knows them or not. */
  list(): Promise<readonly string[]>;
  /** Bytes that each volume takes of the host's disk; absent where the engine has to count them. */
  sizes?(): Promise<ReadonlyMap<string, number>>;
  /** Removes what the volume stood on; what is not there is no error. */
  drop(name: string): Promise<void>;
}

const nothing: AsyncDisposable = { [Symbol.asyncDispose]: async () => {} };

/** A bound that the engine itself keeps, by options of its volume driver. */
export function driverQuota(kind: QuotaKind, owned: boolean, options: Quota['options']): Quota {
  return {
    kind,
    owned,
    options,
    prepare: async () => false,
    hold: async () => nothing,
    list: async () => [],
    drop: async () => {},
  };
}

/** Project quotas of the file system below the engine's data (xfs or ext4 mounted with `prjquota`). */
export const projectQuota = driverQuota('project', false, ({ size }) => (size ? { size: String(size) } : {}));

/** Memory as the workspace: counts as the sandbox's own, and is gone with its container. */
export function tmpfsQuota({ uid, gid }: Owner): Quota {
  const fixed = ['nosuid', 'nodev', 'mode=0755', `uid=${uid}`, `gid=${gid}`];
  return driverQuota('tmpfs', true, ({ size }) => ({
    type: 'tmpfs',
    device: 'tmpfs',
    o: [...fixed, ...(size ? [`size=${size}`] : [])].join(','),
  }));
}

/** Nothing keeps the bound; `watch` says that somebody looks from time to time. */
export const noQuota = driverQuota('none', false, () => ({}));
export const watchQuota = driverQuota('watch', false, () => ({}));
