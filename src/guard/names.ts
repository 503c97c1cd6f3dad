import { z } from 'zod';

/** A container's or workspace's name as Berth gives them: `berth-<instance>-…`. */
const own = /^berth-[a-z0-9]{1,40}-[a-z0-9][a-z0-9_-]{0,100}$/;
const hostVolume = /^berth-session-host-[0-9a-f]{12}$/;

export const isHostVolume = (name: string): boolean => hostVolume.test(name);
export const isWorkspace = (name: string): boolean => own.test(name) && !name.startsWith('berth-session-host-');
export const isOwnVolume = (name: string): boolean => isWorkspace(name) || isHostVolume(name);

export const containerName = z.string().refine(isWorkspace, 'a name that is not of a sandbox');
export const workspaceName = containerName;
export const hostVolumeName = z.string().refine(isHostVolume, 'a volume that is not of the session host');

/** What a container or volume may be labelled with; nothing of the engine's or of other programs. */
export const ownLabels = z
  .record(z.string().regex(/^berth\.[a-z-]{1,40}$/), z.string().max(256))
  .refine((labels) => Object.keys(labels).length <= 16, 'too many labels');

export const instanceLabel = z.string().regex(/^[a-z0-9]{1,40}$/);
