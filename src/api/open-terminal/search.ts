import { posix } from 'node:path';
import type { FileEntry, FilesPort } from '../../sandbox/ports/workspace.ts';
import { absolute, flagOf, needed, numberOf, type PaneContext } from './call.ts';

const depth = 32;
const names = { file: 'file', directory: 'directory' } as const;

/** Names that contain the query, the best first: those that are it, begin with it, contain it. */
export async function searched(files: FilesPort, c: PaneContext): Promise<Response> {
  const path = absolute(c.req.query('path') || '.');
  const query = (c.req.query('query') ?? '').toLowerCase();
  const limit = numberOf(c, 'limit', 1, 100, 20);
  const { entries } = await files.list(path, { depth, signal: c.req.raw.signal });
  const found = entries
    .filter((entry) => isWanted(entry, c.req.query('type')) && (flagOf(c, 'show_hidden') || !isHidden(entry.path)))
    .map((entry) => ({ entry, rank: rankOf(posix.basename(entry.path).toLowerCase(), query) }))
    .filter(({ rank }) => rank < 3)
    .toSorted((a, b) => a.rank - b.rank || a.entry.path.length - b.entry.path.length);
  const results = found.slice(0, limit).map(({ entry }) => ({
    path: posix.join(path, entry.path),
    name: posix.basename(entry.path),
    ...factsOf(entry),
  }));
  return c.json({ results });
}

function rankOf(name: string, query: string): number {
  if (name === query) return 0;
  const at = name.indexOf(query);
  return at < 0 ? 3 : at === 0 ? 1 : 2;
}

export async function globbed(files: FilesPort, c: PaneContext): Promise<Response> {
  const path = absolute(c.req.query('path') || '.');
  const pattern = needed(c, 'pattern');
  const most = numberOf(c, 'max_results', 1, 500, 50);
  // A pattern without a slash is looked for at every depth.
  const glob = pattern.includes('/') ? pattern : `**/${pattern}`;
  const { entries, truncated } = await files.list(path, { depth, glob, signal: c.req.raw.signal });
  const found = entries.filter((entry) => isWanted(entry, c.req.query('type')));
  const matches = found.slice(0, most).map((entry) => ({ path: entry.path, ...factsOf(entry) }));
  return c.json({ pattern, path, matches, truncated: truncated || found.length > most });
}

function factsOf({ type, size, mtime }: FileEntry) {
  return { type, size, modified: mtime };
}

function isHidden(path: string): boolean {
  return path.split('/').some((part) => part.startsWith('.'));
}

function isWanted({ type }: FileEntry, wanted = 'any'): boolean {
  return wanted === 'any' ? type in names : type === wanted;
}
