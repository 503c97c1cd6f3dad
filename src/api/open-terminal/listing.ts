import type { FileEntry, FilesPort } from '../../sandbox/ports/workspace.ts';

/** A directory as the file browser reads it: links are what they lead to, and broken ones are left out. */
export async function listing(files: Pick<FilesPort, 'list'>, directory: string): Promise<object> {
  const { entries, writable = false } = await files.list(directory, { depth: 1, follow: true, writable: true });
  const shown = entries.filter(({ type }) => type === 'file' || type === 'directory');
  return { dir: directory, writable, entries: shown.map(shownEntry) };
}

function shownEntry({ path, type, size, mtime, writable = false }: FileEntry): object {
  return { name: path, type, size, modified: mtime, writable };
}
