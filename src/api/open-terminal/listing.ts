import { posix } from 'node:path';
import type { FileEntry, FilesPort, FileStat } from '../../sandbox/ports/workspace.ts';

type Reader = Pick<FilesPort, 'list' | 'stat'>;

/** Links looked at in one directory. */
const mostLinks = 500;
const atOnce = 8;

/** A directory as the file browser reads it: links are what they lead to, and broken ones are left out. */
export async function listing(files: Reader, directory: string): Promise<object> {
  const { entries } = await files.list(directory, { depth: 1 });
  const followed = await followLinks(files, directory, entries);
  const shown = followed.filter(({ type }) => type === 'file' || type === 'directory');
  return { dir: directory, writable: isOurs(directory), entries: shown.map((entry) => shownEntry(directory, entry)) };
}

function shownEntry(directory: string, { path, type, size, mtime, mode }: FileEntry): object {
  const isWritable = isOurs(posix.join(directory, path)) && (mode & 0o200) !== 0;
  return { name: path, type, size, modified: mtime, writable: isWritable };
}

/** Elsewhere everything belongs to root. */
function isOurs(path: string): boolean {
  return ['/workspace', '/tmp', '/home/user', '/var/tmp', '/dev/shm'].some((root) => `${path}/`.startsWith(`${root}/`));
}

async function followLinks(files: Reader, directory: string, entries: readonly FileEntry[]): Promise<FileEntry[]> {
  const links = entries.filter(({ type }) => type === 'symlink').slice(0, mostLinks);
  const targets = new Map<string, FileStat>();
  for (let at = 0; at < links.length; at += atOnce) {
    const stats = links.slice(at, at + atOnce).map(async ({ path }) => {
      const stat = await files
        .stat(posix.join(directory, path, '.'))
        .catch(() => files.stat(posix.join(directory, path)));
      targets.set(path, stat);
    });
    await Promise.allSettled(stats);
  }
  return entries.flatMap((entry) => {
    if (entry.type !== 'symlink') return entry;
    const target = targets.get(entry.path);
    return target ? { ...entry, type: target.type, size: target.size, mtime: target.mtime, mode: target.mode } : [];
  });
}
