import { abortable, type Engine } from './client.ts';
import { statusOf } from './errors.ts';

/** A volume as the engine's `local` driver is asked for it. */
export interface NewVolume {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
}

export async function createVolume(engine: Engine, { name, labels, options }: NewVolume): Promise<void> {
  const body = { Name: name, Driver: 'local', DriverOpts: { ...options }, Labels: { ...labels } };
  await engine.call({ doing: 'make a workspace' }, (abortSignal) =>
    engine.docker.createVolume(abortable(body, abortSignal)),
  );
}

/** A missing one is no error. */
export async function removeVolume(engine: Engine, name: string): Promise<void> {
  try {
    await engine.call({ doing: 'remove a workspace' }, (abortSignal) =>
      engine.docker.getVolume(name).remove(abortable({}, abortSignal)),
    );
  } catch (error) {
    if (statusOf(error) !== 404) throw error;
  }
}
