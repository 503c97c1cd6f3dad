import { setImmediate } from 'node:timers/promises';
import { detached } from '../../lib/detached.ts';
import { AppError } from '../../errors.ts';
import type { Entry } from './change.ts';
import { newMark } from './open.ts';
import { ScriptRun, type ScriptHost } from './run.ts';
import { scripts } from './script.ts';
import { MarkedBody } from './marked-body.ts';
import { shown } from './paths.ts';
import type { FileEntry, FileMatch, SearchOptions, SearchResult } from '../ports/workspace.ts';

const longestQuery = 500;
const mostMatches = 1000;
/** Entries looked at for their names. */
const mostScanned = 500_000;
/** Milliseconds of one search, and of work on what has come after which others have their turn. */
const longest = 20_000;
const longestTurn = 5;
/** Bytes of a path and a line together: no larger file is searched. */
const longestRecord = 1024 * 1024 + 16384;
/** Characters of a line shown, and of those before the match. */
const lineShown = 300;
const lineBefore = 100;

const newline = 0x0a;
const types: Readonly<Record<string, FileEntry['type']>> = { f: 'file', d: 'directory', l: 'symlink' };

/** Looks for a text in names and lines, in whatever case; never as a pattern, so its time is that of reading. */
export async function searchFiles(
  host: ScriptHost,
  { path, target }: Entry,
  query: string,
  options: SearchOptions,
): Promise<SearchResult> {
  checkQuery(query);
  const { names = true, content = true, hidden = false, limit = 100 } = options;
  checkLimit(limit);
  const mark = newMark();
  const late = AbortSignal.timeout(longest);
  const args = [target, query, hidden ? 'hidden' : '', content ? 'content' : '', mark];
  const call = { script: scripts.search, args, path, signal: options.signal };
  await using run = await ScriptRun.start(host, call);
  await run.head(host.deadline);
  const search = new Search(new MarkedBody(run.output, mark), { query, names, limit });
  late.addEventListener('abort', () => detached(run[Symbol.asyncDispose]()));
  const whole = await search.run();
  if (whole === 'broken' && !late.aborted) throw await run.death();
  return { matches: search.matches(), truncated: whole !== 'whole' };
}

function checkQuery(query: string): void {
  const good = query !== '' && query.length <= longestQuery && query.isWellFormed() && !/[\0\n\r]/.test(query);
  if (good) return;
  const message = `query must be one line of 1 to ${longestQuery} characters; got ${shown(query)}.`;
  throw new AppError('invalid_argument', message);
}

function checkLimit(limit: number): void {
  if (Number.isInteger(limit) && limit >= 1 && limit <= mostMatches) return;
  throw new AppError('invalid_argument', `limit must be a whole number from 1 to ${mostMatches}; got ${limit}.`);
}

interface Wanted {
  readonly query: string;
  readonly names: boolean;
  readonly limit: number;
}

type Found = { type: FileEntry['type']; name: boolean; lines: FileMatch['lines'][number][] };

/** One search as its records come: names, an empty record, lines. */
class Search {
  readonly #body: MarkedBody;
  readonly #wanted: Wanted;
  readonly #folded: string;
  readonly #found = new Map<string, Found>();
  #inNames = true;
  #scanned = 0;

  constructor(body: MarkedBody, wanted: Wanted) {
    this.#body = body;
    this.#wanted = wanted;
    this.#folded = wanted.query.toLowerCase();
  }

  /** `cut` where there is more than was asked for, `broken` where the records broke off. */
  async run(): Promise<'whole' | 'cut' | 'broken'> {
    let held: Buffer = Buffer.alloc(0);
    let turn = performance.now();
    for (let bytes = await this.#next(); bytes !== null; bytes = await this.#next()) {
      held = Buffer.concat([held, bytes]);
      let from = 0;
      for (let end = this.#endOf(held, from); end > 0; end = this.#endOf(held, from)) {
        if (!this.#take(held, from, end)) return 'cut';
        from = end;
        if (performance.now() - turn < longestTurn) continue;
        await setImmediate();
        turn = performance.now();
      }
      held = held.subarray(from);
      if (held.length > longestRecord) throw malformed();
    }
    return this.#body.exitCode === null ? 'broken' : 'whole';
  }

  /** Those whose names match come first. */
  matches(): FileMatch[] {
    const all = Array.from(this.#found, ([path, found]) => ({ path, ...found }));
    return all.toSorted((a, b) => Number(b.name) - Number(a.name) || (a.path < b.path ? -1 : 1));
  }

  async #next(): Promise<Uint8Array | null> {
    return await this.#body.next().catch(() => null);
  }

  /** Where the record ends that begins at `from`; 0 where it has not come whole. */
  #endOf(held: Buffer, from: number): number {
    const zero = held.indexOf(0, from);
    if (zero < 0 || this.#inNames) return zero + 1;
    return held.indexOf(newline, zero + 1) + 1;
  }

  /** False when there are as many matches as were asked for. */
  #take(held: Buffer, from: number, end: number): boolean {
    if (!this.#inNames) return this.#takeLine(held.subarray(from, end - 1));
    this.#inNames = end - from > 1;
    this.#scanned += 1;
    return !this.#inNames || this.#takeName(held.toString('utf8', from, end - 1));
  }

  #takeName(record: string): boolean {
    const path = record.slice(2);
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (this.#scanned > mostScanned) return false;
    if (!this.#wanted.names || !name.toLowerCase().includes(this.#folded)) return true;
    return this.#put(path, { type: types[record[0]!] ?? 'other', name: true, lines: [] });
  }

  #takeLine(record: Buffer): boolean {
    const zero = record.indexOf(0);
    const path = record.toString('utf8', 0, zero).replace(/^\.\//, '');
    const colon = record.indexOf(':', zero);
    const line = Number(record.toString('latin1', zero + 1, colon));
    if (!Number.isSafeInteger(line)) throw malformed();
    const shown = excerpt(record.toString('utf8', colon + 1).replace(/\r$/, ''), this.#folded);
    const known = this.#found.get(path);
    if (known && known.lines.length < 3) known.lines.push({ line, ...shown });
    return known !== undefined || this.#put(path, { type: 'file', name: false, lines: [{ line, ...shown }] });
  }

  #put(path: string, found: Found): boolean {
    if (this.#found.size === this.#wanted.limit) return false;
    this.#found.set(path, found);
    return true;
  }
}

/** The part of a line around what was found. */
function excerpt(line: string, folded: string): { column: number; text: string } {
  const at = Math.max(0, line.toLowerCase().indexOf(folded));
  const from = Math.max(0, at - lineBefore);
  const text = from === 0 && line.length <= lineShown ? line : line.slice(from, from + lineShown).toWellFormed();
  return { column: at + 1, text };
}

function malformed(): AppError {
  return new AppError('internal', 'The sandbox gave malformed results of a search.');
}
