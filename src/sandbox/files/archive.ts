import { AppError } from '../../errors.ts';
import { newMark } from './open.ts';
import { ScriptRun, type ScriptHost } from './run.ts';
import { scripts } from './script.ts';
import { markedStream } from './stream.ts';
import { shown } from './paths.ts';

/** A directory as a tar stream, its entries relative to it. The stream errors rather than end incomplete. */
export async function archiveDirectory(
  host: ScriptHost,
  target: string,
  path: string,
  signal: AbortSignal | undefined,
): Promise<ReadableStream<Uint8Array>> {
  const mark = newMark();
  const run = await ScriptRun.start(host, { script: scripts.archive, args: [target, mark], path, signal });
  try {
    await run.head(host.deadline);
  } catch (error) {
    await run[Symbol.asyncDispose]();
    throw error;
  }
  return markedStream(run, mark, { onEnd: (exitCode) => verdict(run, exitCode, path) });
}

/** GNU tar exits 1 also for a file that merely grew or went while the archive was made; that is no fault of the archive. */
async function verdict(run: ScriptRun, exitCode: number, path: string): Promise<AppError | undefined> {
  if (exitCode === 0) return undefined;
  const words = await run.finish();
  if (exitCode === 1 && !/shrank|Permission denied|Cannot/.test(words)) return undefined;
  const message = `The archive of ${shown(path)} is incomplete: a file in it could not be read or was cut short meanwhile.`;
  return new AppError('conflict', message, { cause: new Error(`tar exit code ${exitCode}: ${words}`) });
}
