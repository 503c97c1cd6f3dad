import type { Extract, Header } from 'tar-stream';
import { makeZip } from 'client-zip';
import { AppError } from '../../errors.ts';
import { detached } from '../../lib/detached.ts';
import type { Entry } from './change.ts';
import { LeftOut, noticeName } from './left-out.ts';
import { newMark } from './open.ts';
import { ScriptRun, type ScriptHost } from './run.ts';
import { scripts } from './script.ts';
import { markedStream } from './stream.ts';
import { brokenTar, feed, inside, legible, type TarLimits } from './files-tar.ts';
import { shown } from './paths.ts';
import { tarReader } from './tar-reader.ts';

const mostPaths = 1000;
/** What a zip can hold: its times begin and end here. */
const earliest = Date.UTC(1980, 0, 2);
const latest = Date.UTC(2107, 11, 30);
const linkMode = 0o120777;

interface ZipEntry {
  readonly name: string;
  readonly lastModified: Date;
  readonly mode: number;
  readonly input?: AsyncIterable<Uint8Array> | string;
}

/**
 * Files and directories as a zip, stored as they are: its compression would be the server's work for one sandbox. Names
 * begin below the directory that all of them are in. What can't be read is named in the last entry.
 */
export async function zipPaths(
  host: ScriptHost,
  limits: TarLimits,
  entries: readonly Entry[],
  signal: AbortSignal | undefined,
): Promise<ReadableStream<Uint8Array>> {
  checkPaths(entries);
  const parent = commonParent(entries.map(({ target }) => target));
  const names = entries.map(({ target }) => target.slice(parent.length + 1));
  const mark = newMark();
  const others = entries.map(({ path }) => path);
  const call = { script: scripts.pick, args: [parent, mark, ...names], path: others[0]!, others, signal };
  const run = await ScriptRun.start(host, call);
  try {
    await run.head(host.deadline);
  } catch (error) {
    await run[Symbol.asyncDispose]();
    throw error;
  }
  const left = new LeftOut(run, others[0]!);
  const tar = markedStream(run, mark, { onEnd: (exitCode) => left.settle(exitCode) });
  return endedWith(makeZip(zipEntries(tar, { path: others[0]!, limits, left })), run);
}

function checkPaths(entries: readonly Entry[]): void {
  if (entries.length === 0 || entries.length > mostPaths) {
    throw new AppError('invalid_argument', `paths must be 1 to ${mostPaths} paths; got ${entries.length}.`);
  }
  const up = entries.find(({ target }) => target.split('/').includes('..'));
  if (up) throw new AppError('invalid_argument', `paths must not go up by ".."; got ${shown(up.path)}.`);
  const root = entries.find(({ target }) => target === '/');
  if (root) throw new AppError('invalid_argument', `paths must name files or directories; got ${shown(root.path)}.`);
}

/** The directory that all are in: empty for `/`. */
function commonParent(targets: readonly string[]): string {
  const above = targets.map((target) => target.split('/').slice(0, -1));
  const [first = []] = above;
  const differs = first.findIndex((part, at) => above.some((parts) => parts[at] !== part));
  return first.slice(0, differs < 0 ? first.length : differs).join('/');
}

interface Job {
  readonly path: string;
  readonly limits: TarLimits;
  readonly left: LeftOut;
}

async function* zipEntries(tar: ReadableStream<Uint8Array>, job: Job): AsyncGenerator<ZipEntry> {
  const unpacker = tarReader();
  const source = tar.getReader();
  detached(feed(source, unpacker));
  try {
    yield* cleanEntries(unpacker, job.limits);
  } catch (error) {
    throw error instanceof AppError ? error : brokenTar(job.path, error);
  } finally {
    unpacker.destroy();
    await source.cancel().catch(() => {});
  }
  const { notice } = job.left;
  if (notice !== undefined) yield { name: noticeName, lastModified: new Date(), mode: 0o644, input: notice };
}

/** The names of all entries are remembered until the end, so they are bounded. */
async function* cleanEntries(unpacker: Extract, limits: TarLimits): AsyncGenerator<ZipEntry> {
  let count = 0;
  let names = 0;
  for await (const entry of unpacker) {
    const header = legible(entry.header);
    const name = inside(header.name);
    count += 1;
    names += header.name.length;
    if (count > limits.entries) throw tooMany(`${limits.entries} entries`);
    if (names > limits.names) throw tooMany(`${limits.names} bytes in its names`);
    if (header.type === 'file' && name) yield { ...factsOf(header, name), input: entry as AsyncIterable<Uint8Array> };
    else {
      entry.resume();
      if (name) yield* withoutBytes(header, name);
    }
  }
}

/** Sockets and the like have no place in a zip. */
function* withoutBytes(header: Header, name: string): Generator<ZipEntry> {
  const facts = factsOf(header, name);
  const target = header.linkname ?? '';
  if (header.type === 'directory') yield { ...facts, name: `${name}/` };
  else if (header.type === 'symlink') yield { ...facts, mode: linkMode, input: target };
  else if (header.type === 'link') yield { ...facts, mode: linkMode, input: wayTo(name, inside(target) ?? '') };
}

/** From one entry to another, as a symbolic link says it. */
function wayTo(name: string, target: string): string {
  return '../'.repeat(name.split('/').length - 1) + target;
}

function factsOf({ mode, mtime }: Header, name: string) {
  const time = Math.min(Math.max(mtime.getTime(), earliest), latest);
  return { name, mode: mode & 0o777, lastModified: new Date(time) };
}

function tooMany(limit: string): AppError {
  return new AppError('too_large', `A zip must have at most ${limit}; take fewer files, or a tar.`);
}

/** The stream, of which the end and the cancellation end the script. */
function endedWith(zip: ReadableStream<Uint8Array>, run: ScriptRun): ReadableStream<Uint8Array> {
  const reader = zip.getReader();
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await run[Symbol.asyncDispose]();
        detached(reader.cancel().catch(() => {}));
      },
    },
    { highWaterMark: 0 },
  );
}
