import { type Config, settleAuth } from '../config.ts';
import { attackAll } from '../doctor/examination.ts';
import { exposureChecks } from '../doctor/host.ts';
import { table } from '../doctor/table.ts';
import { AppError } from '../errors.ts';
import { createLogger } from '../log.ts';
import { hasStoredKeys } from '../identity/key-store.ts';
import { examine } from '../setup/examine.ts';
import { type Invocation, settings } from './invocation.ts';

/** Prints what stands in the way of serving, or of serving safely. Exit code 1 when a check fails. */
export async function doctor(invocation: Invocation): Promise<number> {
  const { env, flags, out, err, stop } = invocation;
  const config = settled(settings(invocation).config);
  const host = [...(await examine(env, config, hasStoredKeys)), ...exposureChecks(config, env)];
  const reachable = !host.some(({ name, status }) => name === 'engine' && status === 'fail');
  const log = createLogger({ ...config.logging, level: 'error' });
  const onTemplate = (template: string) => void (flags['json'] || err.write(`Attacking sandboxes of ${template} …\n`));
  const attacks = flags['quick'] || !reachable ? [] : await attackAll({ config, env, log, stop, onTemplate });
  const checks = [...host, ...attacks];
  const ok = !checks.some(({ status }) => status === 'fail');
  out.write(flags['json'] ? `${JSON.stringify({ ok, checks }, null, 2)}\n` : table(checks));
  return ok ? 0 : 1;
}

/** Where the state cannot be read, the check of its directory says so, beside all others. */
function settled(config: Config): Config {
  try {
    return settleAuth(config, hasStoredKeys(config.server.state_dir));
  } catch (error) {
    if (error instanceof AppError) return config;
    throw error;
  }
}
