import type { Config } from '../config.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { Check } from '../setup/checks.ts';
import { unsafe } from '../setup/examine.ts';

/** Logs what makes the engine less safe than it could be; with `server.strict` on, refuses to go on. */
export async function heedHost(env: NodeJS.ProcessEnv, config: Config, log: Logger): Promise<void> {
  const found = await unsafe(env, config);
  for (const { name, detail, advice } of found) log.warn({ event: 'host.unsafe', check: name, detail, advice });
  if (config.server.strict && found.length > 0) {
    throw new AppError(
      'unsupported',
      `server.strict is on, and this host is not safe enough: ${found.map(sentence).join('; ')}.`,
    );
  }
}

function sentence({ name, detail }: Check): string {
  return `${name}: ${detail.replace(/\.$/, '')}`;
}
