import { ConfigError, settleAuth } from '../config.ts';
import { type Server, startServer } from '../compose/context.ts';
import { detached } from '../lib/detached.ts';
import { createLogger, type Logger } from '../log.ts';
import { hasStoredKeys } from '../identity/key-store.ts';
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
  invocation.hangUp?.(() => detached(reload(server, invocation, log), log));
  await aborted(invocation.stop);
  await server.stop();
  return 0;
}

/** Settings that cannot be used change nothing. */
async function reload(server: Server, invocation: Invocation, log: Logger): Promise<void> {
  try {
    const restart = await server.reload(settings(invocation).config);
    log.info({ event: 'settings.reloaded' });
    if (restart.length > 0) log.warn({ event: 'settings.need_restart', settings: restart });
  } catch (err) {
    if (!(err instanceof ConfigError)) throw err;
    log.error({ event: 'settings.not_reloaded' }, err.message);
  }
}
