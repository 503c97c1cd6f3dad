import { AppError } from '../errors.ts';
import { inLanes } from '../lib/lanes.ts';
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
  if (target instanceof Error) return [signal.aborted ? late(template) : unstarted(template, target)];
  const checks: Check[] = [];
  const make = async (attack: Attack) => {
    const blamed = checks.some(({ status }) => status === 'fail');
    checks.push(cardLine(attack, template, await outcomeOf(attack, { target, all: signal, blamed })));
  };
  await inLanes(atOnce, together, make);
  for (const attack of alone) await make(attack);
  const order = [...together, ...alone].map(({ name }) => name);
  return checks.toSorted((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
}

function late(template: string): Check {
  const advice = 'Ask for it alone, or when the machine has less to do.';
  return { name: 'start', template, status: 'untried', detail: 'not tried, because the time was up', advice };
}

function unstarted(template: string, error: Error): Check {
  const unknown = error instanceof AppError && ['image_missing', 'timeout', 'engine_unavailable'].includes(error.code);
  const advice = 'Nothing of this template was attacked; see to it that its sandboxes start.';
  const meaning = 'No sandbox of this template can be had.';
  return { name: 'start', template, status: unknown ? 'untried' : 'fail', detail: error.message, meaning, advice };
}

function cardLine({ name, meaning, advice }: Attack, template: string, outcome: Outcome): Check {
  const check = { name, template, ...outcome };
  return outcome.status === 'fail' ? { ...check, meaning, advice } : check;
}

interface Circumstances {
  readonly target: Target;
  /** Aborts when the time for all attacks is up. */
  readonly all: AbortSignal;
  /** An attack before has succeeded: where the sandbox is gone, that one has ended it. */
  readonly blamed: boolean;
}

async function outcomeOf(attack: Attack, { target, all, blamed }: Circumstances): Promise<Outcome> {
  if (all.aborted) return untried('not tried, because the time was up');
  if (!(await isThere(target, all))) return (blamed ? untried : broken)('not tried, because the sandbox is gone');
  const seconds = attack.seconds ?? 10;
  const late = AbortSignal.timeout(seconds * 1000);
  const signal = AbortSignal.any([all, late]);
  try {
    return await orAborted(attack.run(target, signal), signal);
  } catch (error) {
    if (all.aborted) return untried('not tried to the end, because the time was up', calmer);
    if (late.aborted) return untried(`not tried to the end: it takes more than ${seconds} s here`, calmer);
    const { message } = error as Error;
    if (!blamed && !(await isThere(target, all))) return broken(`the sandbox ended: ${message}`);
    return untried(`it could not be tried: ${message}`);
  }
}

const calmer = 'Ask again when the machine has less to do.';

async function isThere({ container }: Target, signal: AbortSignal): Promise<boolean> {
  return await container.state(signal).then(
    ({ running }) => running,
    () => false,
  );
}
