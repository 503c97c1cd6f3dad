import type { Template } from '../config.ts';
import type { Container, DiskQuota } from '../sandbox/ports/runtime.ts';
import type { Status } from '../setup/checks.ts';
import type { Workspace } from '../sandbox/ports/workspace.ts';

/** One sandbox that is thrown away afterwards. */
export interface Victim {
  readonly container: Container;
  readonly workspace: Workspace;
}

/** What an attack is given: everything a hostile caller has, and the host's view to judge it by. */
export interface Target extends Victim {
  /** With its sizes scaled down, so that an attack on them is short. */
  readonly template: Template;
  readonly quota: DiskQuota;
  /** Another sandbox of the same template. */
  readonly peer: Victim;
  /** Where the host keeps what PID 1 writes. */
  logged(): Promise<{ readonly driver: string; readonly bytes: number }>;
}

export interface Outcome {
  /** `warn`: the bound is a weak one. `untried`: it was not seen to be made, so nothing was seen to hold. */
  readonly status: Status;
  /** What happened, in a few words. */
  readonly detail: string;
  /** What to do about a warning, or so that it can be tried; a failure has its attack's advice. */
  readonly advice?: string;
}

/**
 * Something that a hostile caller would do. Each has a positive control: beside what must be refused it does something of
 * the same kind that must work, and where that does not work it is `untried`, whatever else it saw refused.
 */
export interface Attack {
  readonly name: string;
  /** What a failure means; one sentence. */
  readonly meaning: string;
  /** How to mend it; one sentence. */
  readonly advice: string;
  /** Seconds it may take; absent: 10. An attack that outlasts them counts as not tried. */
  readonly seconds?: number;
  /** May reject: then it was not tried, unless the sandbox has ended over it. */
  run(target: Target, signal: AbortSignal): Promise<Outcome>;
}

export const held = (detail: string): Outcome => ({ status: 'ok', detail });
export const broken = (detail: string): Outcome => ({ status: 'fail', detail });
export const weak = (detail: string, advice: string): Outcome => ({ status: 'warn', detail, advice });
export const untried = (detail: string, advice?: string): Outcome => ({
  status: 'untried',
  detail,
  ...(advice && { advice }),
});

/** What to say where an image lacks what an attack is made with. */
export const otherImage = 'Attack a template with the same settings and an image that has it, such as berth/base.';

/** Failed when anything is on the list. */
export function unless(found: readonly string[], detail: string): Outcome {
  return found.length === 0 ? held(detail) : broken(found.slice(0, 6).join('; '));
}
