import type { Logger } from './log.ts';

/**
 * Lets work go on by itself. Its failure is logged, so that a rejected promise that nobody awaits can't end the server.
 * Without a log, what fails is told elsewhere, or nobody's concern.
 */
export function detached(work: PromiseLike<unknown> | undefined, log?: Pick<Logger, 'warn'>): void {
  work?.then(undefined, (err: unknown) => log?.warn({ event: 'background.failed', err }));
}
