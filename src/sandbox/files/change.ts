import { newMark } from './open.ts';
import { ScriptRun, type ScriptHost } from './run.ts';
import { scripts } from './script.ts';
import type { FileEntry } from '../ports/workspace.ts';

/** A name in the sandbox. */
export interface Entry {
  /** As the caller gave it. */
  readonly path: string;
  /** Absolute. */
  readonly target: string;
}

/** Makes a directory and those above it. */
export async function makeDirectory(
  host: ScriptHost,
  { path, target }: Entry,
  signal: AbortSignal | undefined,
): Promise<{ path: string }> {
  await using run = await ScriptRun.start(host, { script: scripts.mkdir, args: [target], path, signal });
  await run.head(host.deadline);
  return { path: target };
}

/** Removes what has that name. A tree may take as long as it takes; an abort leaves the rest of it. */
export async function removeEntry(
  host: ScriptHost,
  root: string,
  { path, target }: Entry,
  { recursive = false, signal }: { recursive?: boolean; signal?: AbortSignal },
): Promise<{ path: string; type: FileEntry['type'] }> {
  const mark = newMark();
  const args = [target, root, recursive ? 'recursive' : '', mark];
  await using run = await ScriptRun.start(host, { script: scripts.remove, args, path, signal });
  const type = await run.head(host.deadline);
  await run.job(mark);
  return { path: target, type: type as FileEntry['type'] };
}

/** Gives what is called `from` another name, on another file system by way of a copy. */
export async function moveEntry(
  host: ScriptHost,
  root: string,
  from: Entry,
  to: Entry,
  signal: AbortSignal | undefined,
): Promise<{ from: string; to: string }> {
  const mark = newMark();
  const args = [from.target, to.target, root, mark];
  const call = { script: scripts.move, args, path: from.path, others: [to.path], signal };
  await using run = await ScriptRun.start(host, call);
  await run.head(host.deadline);
  await run.job(mark);
  return { from: from.target, to: to.target };
}
