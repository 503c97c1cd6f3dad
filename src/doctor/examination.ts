import { AppError } from '../errors.ts';
import type { Check } from '../setup/checks.ts';
import { alone, together } from './attacks.ts';
import type { Attack, Outcome, Target } from './attack.ts';
import { broken, untried } from './attack.ts';
import { orAborted } from './exec.ts';
import { Installation, type InstallationOptions } from './installation.ts';
import { quotaCheck } from './host.ts';

/** Seconds that all attacks together may take. What is left then counts as not tried. */
const longest = 55;
const atOnce = 4;

export interface AttackOptions extends InstallationOptions {
  /** Ends the examination; what was made is removed all the same. */
  readonly stop: AbortSignal;
  /** Told of each template before it is attacked. */
  readonly onTemplate?: (template: string) => void;
}

/** Attacks two throw-away sandboxes of each template, removes them, and tells what held. Rejects when it is stopped. */
export async function attackAll(options: AttackOptions): Promise<readonly Check[]> {
  const { stop, config, onTemplate } = options;
  await using installation = await Installation.make(options);
  const checks: Check[] = [await quotaCheck(() => installation.quota())];
  const end = AbortSignal.timeout(longest * 1000);
  for (const template of Object.keys(config.templates)) {
    onTemplate?.(template);
    checks.push(...(await attackTemplate(installation, template, AbortSignal.any([stop, end]))));
    await installation.clear();
    if (stop.aborted) throw new AppError('cancelled', 'The doctor was stopped; what it had made is removed.');
  }
  return checks;
}

async function attackTemplate(installation: Installation, template: string, signal: AbortSignal): Promise<Check[]> {
  if (signal.aborted) return [late(template)];
  const target = await installation.target(template, signal).catch((error: Error) => error);
  if (target instanceof Error) return [unstarted(template, target)];
  const checks: Check[] = [];
  const queue = [...together];
  const lane = async () => {
    for (let next = queue.shift(); next; next = queue.shift())
      checks.push(await attempt(next, target, template, signal));
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  for (const attack of alone) checks.push(await attempt(attack, target, template, signal));
  const order = [...together, ...alone].map(({ name }) => name);
  return checks.toSorted((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
}

function late(template: string): Check {
  const advice = 'Ask for it alone, or when the machine has less to do.';
  return { name: 'start', template, status: 'warn', detail: 'not tried, because the time was up', advice };
}

function unstarted(template: string, error: Error): Check {
  const missing = error instanceof AppError && error.code === 'image_missing';
  const advice = 'Nothing of this template was attacked; see to it that its sandboxes start.';
  const meaning = 'No sandbox of this template can be had.';
  return { name: 'start', template, status: missing ? 'warn' : 'fail', detail: error.message, meaning, advice };
}

async function attempt(attack: Attack, target: Target, template: string, all: AbortSignal): Promise<Check> {
  const { name, meaning, advice } = attack;
  const outcome = await outcomeOf(attack, target, all);
  const check = { name, template, ...outcome };
  return outcome.status === 'fail' ? { ...check, meaning, advice } : check;
}

async function outcomeOf(attack: Attack, target: Target, all: AbortSignal): Promise<Outcome> {
  if (all.aborted) return untried('not tried, because the time was up');
  const seconds = attack.seconds ?? 10;
  const late = AbortSignal.timeout(seconds * 1000);
  const signal = AbortSignal.any([all, late]);
  try {
    return await orAborted(attack.run(target, signal), signal);
  } catch (error) {
    if (all.aborted) return untried('not tried to the end, because the time was up');
    return broken(late.aborted ? `no end within ${seconds} s` : `it could not be tried: ${(error as Error).message}`);
  }
}
