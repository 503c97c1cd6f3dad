import type { Logger } from '../log.ts';

/**
 * Lets work go on by itself. Its failure is logged, so that a rejected promise that nobody awaits cannot end the server.
 * Without a log the failure becomes a warning of the process.
 */
export function detached(work: PromiseLike<unknown> | undefined, log?: Pick<Logger, 'warn'>): void {
  work?.then(undefined, (err: unknown) => {
    if (log) log.warn({ event: 'background.failed', err });
    else process.emitWarning(err instanceof Error ? err : String(err));
  });
}
