import { randomBytes } from 'node:crypto';
import { AppError } from '../../../errors.ts';
import type { Engine } from '../client.ts';
import { labels, paths } from '../spec.ts';
import { runToEnd, trialBody, trialVolume } from '../trial.ts';
import { createVolume, removeVolume } from '../volume.ts';
import type { Quota } from './quota.ts';

const MiB = 1024 ** 2;
/** The least that every mechanism can make. */
const size = 16 * MiB;

/** Writes a little, which must work, then more than fits, which must not. The session host's image has a bash, no more. */
const script = `echo 1 > ${paths.workspace}/a || exit 4; printf '%*s' ${size} '' > ${paths.workspace}/b && exit 3; exit 0`;

export interface ProbeOptions {
  readonly instance: string;
  readonly hostImage: string;
}

/** Tries a mechanism with a throw-away volume and container. Rejects, for the log, with what was in the way. */
export async function probe(engine: Engine, quota: Quota, options: ProbeOptions): Promise<void> {
  const { instance } = options;
  const volume = { name: `berth-${instance}-quota-${randomBytes(4).toString('hex')}`, size };
  const own = { [labels.instance]: instance, [labels.filler]: volume.name };
  await using undo = new AsyncDisposableStack();
  undo.defer(() => quota.drop(volume.name));
  await quota.prepare(volume);
  await createVolume(engine, { name: volume.name, labels: own, options: quota.options(volume) });
  undo.defer(() => removeVolume(engine, volume.name));
  undo.use(await quota.hold(volume.name));
  const code = await runToEnd(engine, writer(volume.name, quota.owned, options));
  if (code === 3) throw new AppError('unsupported', `${size} bytes went into a workspace of ${size} bytes`);
  if (code !== 0) throw new AppError('unsupported', `nothing could be written to a new workspace (exit code ${code})`);
}

function writer(volume: string, owned: boolean, options: ProbeOptions) {
  const body = trialBody({ argv: [`${paths.tools}/bash`, '-c', script], mounts: [] }, options);
  return { ...body, HostConfig: { ...body.HostConfig, Mounts: [trialVolume(volume, owned)] } };
}
