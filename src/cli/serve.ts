import { startServer } from '../context.ts';
import { createLogger } from '../log.ts';
import { aborted, type Invocation, settings, version } from './invocation.ts';
import { heedHost } from './strict.ts';

/** Serves until it is asked to stop, then lets calls in flight end. */
export async function serve(invocation: Invocation): Promise<number> {
  const { config, notes } = settings(invocation);
  const log = createLogger(config.logging);
  for (const note of notes) log.warn({ event: 'config.note' }, note);
  await heedHost(invocation.env, config, log);
  await using server = await startServer({ config, version: version(), env: invocation.env }, { log });
  await aborted(invocation.stop);
  await server.stop();
  return 0;
}
