import { settleAuth } from '../config.ts';
import { startServer } from '../context.ts';
import { createLogger } from '../log.ts';
import { hasStoredKeys } from '../sandbox/key-store.ts';
import { aborted, type Invocation, settings, version } from './invocation.ts';
import { heedHost } from './strict.ts';

/** Serves until it is asked to stop, then lets calls in flight end. */
export async function serve(invocation: Invocation): Promise<number> {
  const { config, notes } = settings(invocation);
  const log = createLogger(config.logging);
  for (const note of notes) log.warn({ event: 'config.note' }, note);
  const settled = settleAuth(config, hasStoredKeys(config.server.state_dir));
  const card = await heedHost(invocation.env, settled, log, invocation.stop);
  const setup = { config, version: version(), env: invocation.env, ...(card && { card }) };
  await using server = await startServer(setup, { log });
  await aborted(invocation.stop);
  await server.stop();
  return 0;
}
