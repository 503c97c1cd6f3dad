import { AppError } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import type { ContainerRecord, Runtime } from '../runtime.ts';
import type { SandboxRow, State } from '../state.ts';

export interface Reconciled {
  /** Sandboxes whose container runs. */
  readonly found: readonly (readonly [SandboxRow, ContainerRecord])[];
  /** Sandboxes that were live and have no running container. */
  readonly lost: readonly SandboxRow[];
}

/**
 * Matches rows with containers. Containers and volumes of this instance that no row knows are half made, and removed; what
 * cannot be removed, as a volume that somebody else has mounted, is left for the next start.
 */
export async function reconcile(runtime: Runtime, state: State, log: Logger): Promise<Reconciled> {
  const found: [SandboxRow, ContainerRecord][] = [];
  for (const record of await runtime.list()) {
    const row = state.get(record.labels['berth.sandbox'] ?? '');
    const runs = record.state === 'running' || record.state === 'paused';
    if (row?.state === 'live' && runs) found.push([row, record]);
    else if (row?.state !== 'stopped' || record.state !== 'exited') await removeLeftover(runtime, record, log);
  }
  await removeVolumes(runtime, state, log);
  const running = new Set(found.map(([row]) => row.handle));
  return { found, lost: state.all().filter((row) => row.state === 'live' && !running.has(row.handle)) };
}

async function removeLeftover(runtime: Runtime, record: ContainerRecord, log: Logger): Promise<void> {
  log.info({ event: 'container.leftover_removed', container: record.name, state: record.state });
  await unlessKept(log, { container: record.name }, () => runtime.container(record).remove());
}

async function removeVolumes(runtime: Runtime, state: State, log: Logger): Promise<void> {
  const known = new Set(state.all().map((row) => row.volume));
  for (const volume of await runtime.volumes())
    if (!known.has(volume)) await unlessKept(log, { volume }, () => runtime.removeVolume(volume));
}

async function unlessKept(log: Logger, what: object, remove: () => Promise<void>): Promise<void> {
  try {
    await remove();
  } catch (err) {
    if (err instanceof AppError && err.code === 'engine_unavailable') throw err;
    log.warn({ event: 'leftover.kept', ...what, err });
  }
}
