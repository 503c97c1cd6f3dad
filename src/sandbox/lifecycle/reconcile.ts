import { AppError } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import type { ContainerRecord, Runtime } from '../ports/runtime.ts';
import type { SandboxRow, State } from '../../state/state.ts';

export interface Reconciled {
  /** Sandboxes whose container runs. */
  readonly found: readonly (readonly [SandboxRow, ContainerRecord])[];
  /** Sandboxes that were live and have no running container. */
  readonly lost: readonly SandboxRow[];
}

/** Most names in a log line. */
const mostNamed = 20;

/**
 * Matches rows with containers. The state may be older than what is on the engine, as after a restore: what no row knows
 * may be somebody's work, and is kept and logged. Removed is only what bears a mark: a container that never started, an
 * ended one of a known sandbox that does not wait for its wake, and a workspace whose removal was begun. What cannot be
 * removed, as a volume that somebody else has mounted, is left for the next start.
 */
export async function reconcile(runtime: Runtime, state: State, log: Logger): Promise<Reconciled> {
  const found: [SandboxRow, ContainerRecord][] = [];
  const unknown: string[] = [];
  for (const record of await runtime.list()) {
    const row = state.get(record.labels['berth.sandbox'] ?? '');
    const runs = record.state === 'running' || record.state === 'paused';
    if (row && runs) found.push([follow(state, row, record), record]);
    else if (isUseless(row, record)) await removeLeftover(runtime, record, log);
    else if (!row) unknown.push(record.name);
  }
  logUnknown(log, 'container.unknown', unknown);
  await removeDoomed(runtime, state, log);
  logUnknown(log, 'workspace.unknown', await unknownWorkspaces(runtime, state));
  const running = new Set(found.map(([row]) => row.handle));
  return { found, lost: state.all().filter((row) => row.state === 'live' && !running.has(row.handle)) };
}

/** Names of the workspaces of this instance that no sandbox in the state has. */
export async function unknownWorkspaces(runtime: Runtime, state: State): Promise<string[]> {
  const known = new Set(state.all().map((row) => row.volume));
  return (await runtime.volumes()).filter((volume) => !known.has(volume));
}

/** The row as its running container has it: an older state may have missed the last wake, or a new workspace. */
function follow(state: State, row: SandboxRow, { workspace = row.volume }: ContainerRecord): SandboxRow {
  if (row.state === 'live' && row.volume === workspace) return row;
  const followed: SandboxRow = { ...row, state: 'live', volume: workspace };
  state.update(followed);
  return followed;
}

function isUseless(row: SandboxRow | undefined, { state }: ContainerRecord): boolean {
  if (state === 'created') return true;
  return row !== undefined && (row.state !== 'stopped' || state !== 'exited');
}

async function removeLeftover(runtime: Runtime, record: ContainerRecord, log: Logger): Promise<void> {
  log.info({ event: 'container.leftover_removed', container: record.name, state: record.state });
  await unlessKept(log, { container: record.name }, () => runtime.container(record).remove());
}

async function removeDoomed(runtime: Runtime, state: State, log: Logger): Promise<void> {
  const known = new Set(state.all().map((row) => row.volume));
  for (const volume of state.doomed()) {
    if (known.has(volume)) state.spare(volume);
    else
      await unlessKept(log, { volume }, async () => {
        await runtime.removeVolume(volume);
        state.spare(volume);
      });
  }
}

function logUnknown(log: Logger, event: string, names: readonly string[]): void {
  if (names.length === 0) return;
  const advice = 'kept: the state does not know them; see berth workspace list';
  log.warn({ event, count: names.length, names: names.slice(0, mostNamed) }, advice);
}

async function unlessKept(log: Logger, what: object, remove: () => Promise<void>): Promise<void> {
  try {
    await remove();
  } catch (err) {
    if (err instanceof AppError && err.code === 'engine_unavailable') throw err;
    log.warn({ event: 'leftover.kept', ...what, err });
  }
}
