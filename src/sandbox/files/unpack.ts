import { newMark } from './open.ts';
import { ScriptRun, type ScriptHost } from './run.ts';
import { scripts } from './script.ts';
import { sendAll } from './send.ts';
import { sanitizedTar, type TarLimits, type Unpacked } from './files-tar.ts';

/** Unpacks a tar stream into a directory: all of it, or nothing. */
export async function unpackTar(
  host: ScriptHost,
  limits: TarLimits,
  target: string,
  path: string,
  tar: ReadableStream<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<Unpacked> {
  const mark = newMark();
  const source = tar.getReader();
  try {
    await using run = await ScriptRun.start(host, { script: scripts.unpack, args: [target, mark], path, signal });
    const totals: Unpacked = { files: 0, bytes: 0 };
    await sendAll(run, source, sanitizedTar(source, { path, mark, limits, totals }), run.head());
    return totals;
  } finally {
    await source.cancel().catch(() => {});
  }
}
