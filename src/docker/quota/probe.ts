import { randomBytes } from 'node:crypto';
import { AppError } from '../../errors.ts';
import type { Engine } from '../client.ts';
import { createContainer, removeContainer } from '../containers.ts';
import { fillerBody, labels, paths } from '../spec.ts';
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
export async function probe(engine: Engine, quota: Quota, { instance, hostImage }: ProbeOptions): Promise<void> {
  const volume = { name: `berth-${instance}-quota-${randomBytes(4).toString('hex')}`, size };
  const own = { [labels.instance]: instance, [labels.filler]: volume.name };
  await using undo = new AsyncDisposableStack();
  undo.defer(() => quota.drop(volume.name));
  await quota.prepare(volume);
  await createVolume(engine, { name: volume.name, labels: own, options: quota.options(volume) });
  undo.defer(() => removeVolume(engine, volume.name));
  const body = { ...fillerBody({ ...volume, labels: own, target: paths.workspace }, hostImage, instance), ...writer };
  undo.use(await quota.hold(volume.name));
  const id = await createContainer(engine, body);
  undo.defer(() => removeContainer(engine, id));
  const code = await exitCode(engine, id);
  if (code === 3) throw new AppError('unsupported', `${size} bytes went into a workspace of ${size} bytes`);
  if (code !== 0) throw new AppError('unsupported', `nothing could be written to a new workspace (exit code ${code})`);
}

const writer = { User: '1000:1000', Entrypoint: [`${paths.tools}/bash`], Cmd: ['-c', script] };

async function exitCode(engine: Engine, id: string): Promise<number> {
  const container = engine.docker.getContainer(id);
  const attempt = { doing: 'try how a workspace can be bounded' };
  await engine.call(attempt, (abortSignal) => container.start({ abortSignal }));
  const { StatusCode } = await engine.call(attempt, (abortSignal) => container.wait({ abortSignal }));
  return StatusCode as number;
}
