import { AppError, HostRefused } from '../../../errors.ts';
import type { Container } from '../../ports/runtime.ts';

/**
 * What a main process ends with at once that can't be executed (126, 127; 1 with older engines; 255 with runc 1.3, which
 * calls it started all the same), or dies of.
 */
const refusals: ReadonlySet<number> = new Set([1, 126, 127, 132, 139, 159, 255]);

/** Whether a sandbox did not open because its container can't run the session host. */
export function hostRefused(error: unknown): boolean {
  return error instanceof HostRefused;
}

/**
 * Why a new container's session host was not reached: `unsupported` only where it ended at once. One that runs and is
 * slow to answer, or that ended for another reason, is no ground to do without it.
 */
export async function whyRefused(container: Container, error: unknown): Promise<unknown> {
  const state = await container.state().catch(() => undefined);
  if (state && !state.running && !state.oomKilled && refusals.has(state.exitCode ?? 0)) {
    const message = `The sandbox's session host ended at once, with exit code ${state.exitCode}.`;
    return new HostRefused(message, error);
  }
  if (!hostRefused(error)) return error;
  if (state?.running === false)
    return new AppError('sandbox_lost', 'The sandbox ended as it was opened.', { cause: error });
  return new AppError('timeout', "The sandbox's session host did not answer.", { cause: error });
}
