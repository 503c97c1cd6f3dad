import { AppError } from '../../errors.ts';
import type { Container } from '../runtime.ts';

/** What a main process ends with at once that can't be executed (126, 127; 1 with older engines), or dies of. */
const refusals: ReadonlySet<number> = new Set([1, 126, 127, 132, 139, 159]);

/** Whether a sandbox did not open because its container can't run the session host. */
export function hostRefused(error: unknown): boolean {
  return error instanceof AppError && error.code === 'unsupported';
}

/** Why a new container's session host was not reached: `unsupported` where it ended at once; else the error as it is. */
export async function whyRefused(container: Container, error: unknown): Promise<unknown> {
  const state = await container.state().catch(() => undefined);
  const refused = state && !state.running && !state.oomKilled && refusals.has(state.exitCode ?? 0);
  if (!refused) return hostRefused(error) && state?.running === false ? lost(error) : error;
  const message = `The sandbox's session host ended at once, with exit code ${state.exitCode}.`;
  return new AppError('unsupported', message, { cause: error });
}

function lost(cause: unknown): AppError {
  return new AppError('sandbox_lost', 'The sandbox ended while it was opened.', { cause });
}
