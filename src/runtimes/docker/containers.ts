import { statusOf } from './errors.ts';
import type { Engine } from './client.ts';

/** Creates a container by a whole API body and returns its id. Not abortable: what was asked for must not be lost sight of. */
export async function createContainer(
  engine: Engine,
  body: { Image: string },
  options: { name?: string; image?: string } = {},
): Promise<string> {
  // dockerode writes the whole body into the URL too, unless body and query are given apart.
  const request = { _body: body, _query: options.name === undefined ? {} : { name: options.name } };
  const attempt = { doing: 'create a sandbox', image: options.image ?? body.Image };
  const container = await engine.call(attempt, (abortSignal) =>
    engine.docker.createContainer({ ...request, abortSignal }),
  );
  return container.id;
}

/** Kills and removes a container by id or name with its anonymous volumes, and waits until it is gone. Idempotent. */
export async function removeContainer(engine: Engine, id: string): Promise<void> {
  const container = engine.docker.getContainer(id);
  const attempt = { doing: 'remove a sandbox' };
  try {
    await engine.call(attempt, (abortSignal) => container.remove({ force: true, v: true, abortSignal }));
  } catch (error) {
    if (statusOf(error) === 404) return;
    if (statusOf(error) !== 409) throw error;
    await removed(engine, id);
  }
}

/** Somebody else is removing it. */
async function removed(engine: Engine, id: string): Promise<void> {
  const attempt = { doing: 'remove a sandbox' };
  try {
    await engine.call(attempt, (abortSignal) =>
      engine.docker.getContainer(id).wait({ condition: 'removed', abortSignal }),
    );
  } catch (error) {
    if (statusOf(error) !== 404) throw error;
  }
}
