import { AppError } from '../../errors.ts';
import { archiveDirectory } from './archive.ts';
import { makeDirectory, moveEntry, removeEntry } from './change.ts';
import { parseFacts } from './facts.ts';
import { replaceText } from './edit.ts';
import { listFiles, type ListLimits } from './list.ts';
import { openFile } from './open.ts';
import { ScriptRun, type ScriptHost } from './run.ts';
import { scripts } from './script.ts';
import { searchFiles } from './search.ts';
import type { TarLimits } from './files-tar.ts';
import { unpackTar } from './unpack.ts';
import { Turns } from './turns.ts';
import { writeFile } from './write.ts';
import { zipPaths } from './zip.ts';
import { resolveEntry, resolveFile, resolvePath, shown } from './paths.ts';
import type { Container } from '../ports/runtime.ts';
import type { FilesPort, FileStat, OpenFile } from '../ports/workspace.ts';

export interface FilesOptions {
  /** What relative paths are under. */
  readonly root?: string;
  /** The bash in the container. */
  readonly bash?: string;
  /** Milliseconds until an operation's first answer. */
  readonly deadline?: number;
  readonly list?: Partial<ListLimits>;
  readonly tar?: Partial<TarLimits>;
  /** Bytes of the largest file that `edit` takes and makes. */
  readonly editLimit?: number;
}

/** A container's files. Each operation is one exec of a script as the sandbox's own user. */
export function createFiles(container: Container, options: FilesOptions = {}): FilesPort {
  const { root = '/workspace', bash = '/opt/berth/bash', deadline = 30_000, editLimit = 10 * 1024 * 1024 } = options;
  const host: ScriptHost = { container, bash, deadline };
  const limits: ListLimits = { entries: 5000, scanned: 500_000, depth: 64, ...options.list };
  const tarLimits: TarLimits = { entries: 200_000, bytes: 2 ** 40, names: 32 * 1024 * 1024, ...options.tar };
  const resolve = (path: string) => resolvePath(root, path);
  const entry = (path: string) => ({ path, target: resolveEntry(root, path) });

  const edits = new Turns();

  const editFile: FilesPort['edit'] = async (path, oldText, newText, { all = false, signal } = {}) => {
    await using file = await files.open(path, signal);
    const text = await textOf(file, path, editLimit);
    const edited = replaceText(path, text, { oldText, newText, all, limit: editLimit });
    const body = new Blob([edited.text]).stream();
    await files.write(path, body, { unchanged: file.tag, ...(signal && { signal }) });
    return { path: file.stat.path, count: edited.count, lines: edited.lines };
  };

  const files: FilesPort = {
    stat: async (path, signal) => statFile(host, resolve(path), path, signal),
    open: async (path, signal) => openFile(host, resolve(path), path, signal),
    async read(path, { offset = 0, length, signal } = {}) {
      checkRange(offset, length);
      const file = await files.open(path, signal);
      try {
        return file.read({ offset, ...(length !== undefined && { length }) });
      } catch (error) {
        await file[Symbol.asyncDispose]();
        throw error;
      }
    },
    write: async (path, body, write = {}) => writeFile(host, resolveFile(root, path), path, body, write),
    list: async (path, list = {}) => listFiles(host, limits, resolve(path), path, list),
    // One edit of a file after the other: each would find the file of its beginning changed by another.
    edit: async (path, ...edit) => edits.take(resolve(path), () => editFile(path, ...edit)),
    makeDirectory: async (path, signal) => makeDirectory(host, entry(path), signal),
    remove: async (path, remove = {}) => removeEntry(host, root, entry(path), remove),
    move: async (from, to, signal) => moveEntry(host, root, entry(from), entry(to), signal),
    archive: async (path, signal) => archiveDirectory(host, resolve(path), path, signal),
    search: async (query, search = {}) => {
      const { path = '.' } = search;
      return searchFiles(host, { path, target: resolve(path) }, query, search);
    },
    zip: async (paths, signal) => {
      const entries = paths.map((path) => ({ path, target: resolve(path) }));
      return zipPaths(host, tarLimits, entries, signal);
    },
    unpack: async (path, tar, signal) => unpackTar(host, tarLimits, resolve(path), path, tar, signal),
  };
  return files;
}

async function statFile(
  host: ScriptHost,
  target: string,
  path: string,
  signal: AbortSignal | undefined,
): Promise<FileStat> {
  await using run = await ScriptRun.start(host, { script: scripts.stat, args: [target], path, signal });
  return parseFacts(target, await run.head(host.deadline)).stat;
}

function checkRange(offset: number, length: number | undefined): void {
  for (const [name, value] of Object.entries({ offset, length: length ?? 0 })) {
    if (Number.isSafeInteger(value) && value >= 0) continue;
    throw new AppError('invalid_argument', `${name} must be a whole number of bytes from 0 on; got ${value}.`);
  }
}

async function textOf(file: OpenFile, path: string, limit: number): Promise<string> {
  const { size } = file.stat;
  if (size > limit) {
    throw new AppError('too_large', `${shown(path)} has ${size} bytes; only files of at most ${limit} can be edited.`);
  }
  const bytes = await new Response(file.read()).bytes();
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new AppError('invalid_argument', `${shown(path)} is not UTF-8 text; write it as a whole.`, { cause });
  }
}
