import { setImmediate } from 'node:timers/promises';
import { AppError } from '../../errors.ts';
import { newMark } from './open.ts';
import { ScriptRun, type ScriptHost } from './run.ts';
import { scripts } from './script.ts';
import { globIsDeep, globMatcher } from './glob.ts';
import { MarkedBody } from './marked-body.ts';
import type { FileEntry, Listing, ListOptions } from '../ports/workspace.ts';

export interface ListLimits {
  readonly entries: number;
  /** Entries looked at, however few of them match. */
  readonly scanned: number;
  readonly depth: number;
}

const longestRecord = 16384;
/** Milliseconds of matching after which others have their turn: records that have come are read without a pause. */
const longestTurn = 5;

/** Lists a directory, sorted by path. `truncated` when there is more than the limits let through. */
export async function listFiles(
  host: ScriptHost,
  limits: ListLimits,
  target: string,
  path: string,
  options: ListOptions,
): Promise<Listing> {
  const matches = options.glob === undefined ? () => true : globMatcher(options.glob);
  const deep = options.glob !== undefined && globIsDeep(options.glob);
  const most = options.follow ? 1 : limits.depth;
  const depth = checkedDepth(options.depth ?? (deep ? most : 1), most);
  const mark = newMark();
  const args = [target, String(depth), mark, options.writable ? 'writable' : '', options.follow ? 'follow' : ''];
  await using run = await ScriptRun.start(host, { script: scripts.list, args, path, signal: options.signal });
  const head = await run.head(host.deadline);
  const listing = await collect(new MarkedBody(run.output, mark), limits, matches, options.signal);
  if (listing === null) throw await run.death();
  listing.entries.sort((a, b) => (a.path < b.path ? -1 : 1));
  return options.writable ? { ...listing, writable: head === 'w' } : listing;
}

function checkedDepth(depth: number, limit: number): number {
  if (Number.isInteger(depth) && depth >= 1 && depth <= limit) return depth;
  throw new AppError('invalid_argument', `depth must be a whole number from 1 to ${limit}; got ${depth}.`);
}

/** `null` when the list broke off, or was given up. */
async function collect(
  body: MarkedBody,
  limits: ListLimits,
  matches: (path: string) => boolean,
  signal: AbortSignal | undefined,
): Promise<Listing | null> {
  const entries: FileEntry[] = [];
  let scanned = 0;
  let turn = performance.now();
  for await (const entry of parseRecords(body)) {
    if (performance.now() - turn > longestTurn) {
      await setImmediate();
      turn = performance.now();
    }
    if (signal?.aborted) return null;
    scanned += 1;
    if (scanned > limits.scanned) return { entries, truncated: true };
    if (!matches(entry.path)) continue;
    if (entries.length === limits.entries) return { entries, truncated: true };
    entries.push(entry);
  }
  return body.exitCode === null ? null : { entries, truncated: false };
}

/** The records `WRITABLE TYPE SIZE MTIME MODE PATH NUL TARGET NUL`, where WRITABLE is `w`, `-` or, not asked for, nothing. */
async function* parseRecords(body: MarkedBody): AsyncGenerator<FileEntry> {
  let held = Buffer.alloc(0);
  for (let bytes = await body.next(); bytes !== null; bytes = await body.next()) {
    held = Buffer.concat([held, bytes]);
    let from = 0;
    for (;;) {
      const first = held.indexOf(0, from);
      const second = first < 0 ? -1 : held.indexOf(0, first + 1);
      if (second < 0) break;
      yield parseRecord(held.toString('utf8', from, first), held.toString('utf8', first + 1, second));
      from = second + 1;
    }
    held = held.subarray(from);
    if (held.length > longestRecord) throw malformed();
  }
}

function parseRecord(facts: string, target: string): FileEntry {
  const match = /^([w-]?)([a-zA-Z?]) (\d{1,16}) (-?\d{1,12})(?:\.\d*)? ([0-7]{1,5}) ([^]+)$/.exec(facts);
  if (match === null) throw malformed();
  const type = types[match[2]!] ?? 'other';
  return {
    path: match[6]!,
    type,
    size: Number(match[3]),
    mtime: Number(match[4]),
    mode: Number.parseInt(match[5]!, 8),
    ...(type === 'symlink' && { target }),
    ...(match[1] !== '' && { writable: match[1] === 'w' }),
  };
}

const types: Readonly<Record<string, FileEntry['type']>> = { f: 'file', d: 'directory', l: 'symlink' };

function malformed(): AppError {
  return new AppError('internal', 'The sandbox gave a malformed list of files.');
}
