import { policyOf } from '../guard/policy.ts';
import { startGuard } from '../guard/guard.ts';
import { createLogger } from '../log.ts';
import { aborted, type Invocation, settings } from './invocation.ts';

/** Guards the engine's socket until it is asked to stop. */
export async function guard(invocation: Invocation): Promise<number> {
  const { config, notes } = settings(invocation);
  const log = createLogger(config.logging);
  for (const note of notes) log.warn({ event: 'config.note' }, note);
  const refused = (refusal: object) => log.warn({ event: 'guard.refused', ...refusal });
  await using _guard = await startGuard({ ...config.guard, policy: policyOf(config), refused });
  log.info({ event: 'guard.listening', socket: config.guard.socket, engine: config.guard.engine });
  await aborted(invocation.stop);
  return 0;
}
