import { AppError } from '../../errors.ts';

/** Told to the model after a wake; `why` is a clause. */
export function lostBecause(why: string): string {
  return `The sandbox was started anew because ${why}: background processes, terminals and /tmp are gone; the files under /workspace are kept.`;
}

/** Told after that. */
export function shellAfterWake(restored: boolean): string {
  return restored
    ? 'The shell goes on in its directory, with its variables, functions and options as far as they fit in 1 MiB.'
    : 'The shell is a new one, without the directory, variables and functions of the old one.';
}

/** The same for a foreign handle as for one that never was. */
export function unknownSandbox(): AppError {
  return new AppError(
    'not_found',
    'sandbox: expected a handle from create_sandbox or list_sandboxes, got one that does not exist.',
  );
}

export function full(reason: string): AppError {
  return new AppError('busy', `${reason}; end one with end_sandbox or try again in a minute.`, {
    data: { retry_after: 60 },
  });
}
