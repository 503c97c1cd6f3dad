import { AppError } from '../../errors.ts';

const kept = '; the files under /workspace are kept';

/** Told to the model after a wake; `why` is a clause. That files are kept is taken back by `filesLost`. */
export function lostBecause(why: string): string {
  return `The sandbox was started anew because ${why}: background processes, terminals and /tmp are gone${kept}.`;
}

/** The same sentences for a wake that found no workspace. */
export function filesLost(lost: readonly string[]): string[] {
  const gone =
    'The files under /workspace are lost: the volume that held them was removed on the host, and the workspace is empty now.';
  return [...lost.map((sentence) => sentence.replace(kept, '')), gone];
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
