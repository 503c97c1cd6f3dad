import type { Config } from '../config.ts';
import { attackAll, type AttackOptions } from '../doctor/examination.ts';
import { exposureChecks } from '../doctor/host.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { Check } from '../setup/checks.ts';
import { unsafe } from '../setup/examine.ts';

/**
 * Logs what makes the engine less safe than it could be. With `server.strict` on, refuses to go on, and attacks
 * throw-away sandboxes first; what that showed is returned.
 */
export async function heedHost(
  env: NodeJS.ProcessEnv,
  config: Config,
  log: Logger,
  stop: AbortSignal,
): Promise<readonly Check[] | undefined> {
  const found = await unsafe(env, config);
  for (const { name, detail, advice } of found) log.warn({ event: 'host.unsafe', check: name, detail, advice });
  if (!config.server.strict) return undefined;
  if (found.length > 0) throw refusal('this host is not safe enough', found);
  return await heedAttacks({ env, config, log, stop });
}

/** Rejects with one sentence that names what failed. */
export async function heedAttacks(options: AttackOptions): Promise<readonly Check[]> {
  const { config, env, log } = options;
  const card = [...exposureChecks(config, env), ...(await attackAll(options))];
  for (const { name, template, status, detail, advice } of card)
    if (status !== 'ok') log.warn({ event: 'doctor.check', check: name, template, status, detail, advice });
  const failed = card.filter(({ status }) => status === 'fail');
  if (failed.length > 0) throw refusal('berth doctor finds its sandboxes unsafe', failed);
  return card;
}

function refusal(why: string, checks: readonly Check[]): AppError {
  return new AppError('unsupported', `server.strict is on, and ${why}: ${checks.map(sentence).join('; ')}.`);
}

function sentence({ name, template, detail }: Check): string {
  return `${name}${template === undefined ? '' : ` of ${template}`}: ${detail.replace(/\.$/, '')}`;
}
