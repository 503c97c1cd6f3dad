import { AppError } from '../../../errors.ts';
import type { HostErrorCode } from '../wire/frame.ts';
import type { ActiveCommand } from '../../ports/workspace.ts';

/** Milliseconds that commands wait for a shell, or a connection, that is being started again. */
export const startTimeout = 15_000;

/** Why the host did not take a command. */
export const refusals: Readonly<Record<HostErrorCode, () => AppError>> = {
  busy: () => new AppError('busy', 'The shell was still busy; the command did not run. Run it again.'),
  unknown_channel: didNotRun,
  too_large: () => new AppError('too_large', 'The command is too long for the shell; it did not run.'),
  no_resources: () =>
    new AppError('busy', 'The sandbox has no process, file or memory left to start the command; it did not run.'),
  could_not_start: shellDoesNotStart,
  malformed: () => new AppError('internal', 'The session host did not take the command; it did not run.'),
};

export function didNotRun(): AppError {
  return new AppError('internal', 'The shell ended twice before it read the command; the command did not run.');
}

export function shellDoesNotStart(): AppError {
  return new AppError(
    'timeout',
    `The sandbox's shell was not ready within ${startTimeout / 1000} s. Call reset_session with scope "container" for a new one.`,
  );
}

/** A frozen sandbox ends nothing. */
export function shellIsStuck(): AppError {
  return new AppError(
    'timeout',
    `The command before this one was interrupted and has not ended within ${startTimeout / 1000} s, so this one did not run. Try again later, or call reset_session with scope "container" for a new sandbox.`,
  );
}

export function queueFull(limit: number, { commandId, command, since }: ActiveCommand): AppError {
  return new AppError(
    'busy',
    `${limit} commands wait for this sandbox's shell, which is the limit, and this one would be number ${limit + 1}. Wait for one of them to end, or stop ${commandId}, which runs since ${since}: ${command}`,
    { data: { limit, position: limit + 1, retry_after: 1 } },
  );
}
