import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

/** What an audit line says, before its place in the chain is added. */
export type AuditFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** The end of a chain: the last line's sequence number and hash. */
export interface ChainEnd {
  readonly seq: number;
  /** SHA-256, hexadecimal; 64 zeros before the first line. */
  readonly hash: string;
}

export const chainStart: ChainEnd = { seq: 0, hash: '0'.repeat(64) };

/**
 * The next line, without a line feed: one JSON object whose last member `hash` is the SHA-256 of the line up to there.
 * It names the hash of the line before as `prev`, so that a changed, removed or inserted line breaks the chain.
 */
export function chainLine(fields: AuditFields, last: ChainEnd): { line: string; end: ChainEnd } {
  const seq = last.seq + 1;
  const body = escaped(JSON.stringify({ seq, ...fields, prev: last.hash }, clip)).slice(0, -1);
  const hash = digest(body);
  return { line: `${body},"hash":"${hash}"}`, end: { seq, hash } };
}

const tail = /,"hash":"([0-9a-f]{64})"\}$/;

/** The line's place in the chain, or `undefined` where it is no line of a chain. */
export function readLine(line: string): (ChainEnd & { prev: string }) | undefined {
  const match = tail.exec(line);
  if (!match || digest(line.slice(0, match.index)) !== match[1]) return undefined;
  const { seq, prev } = JSON.parse(line) as { seq?: unknown; prev?: unknown };
  if (typeof seq !== 'number' || typeof prev !== 'string') return undefined;
  return { seq, prev, hash: match[1] };
}

/** Characters. A longer text is cut. */
const longestText = 1000;

function clip(_name: string, value: unknown): unknown {
  return typeof value === 'string' && value.length > longestText ? `${value.slice(0, longestText)}…` : value;
}

/** What terminals and log viewers would act upon, besides what JSON escapes by itself. */
function escaped(json: string): string {
  return json.replace(
    /[\u007f-\u009f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

const digest = (text: string): string => createHash('sha256').update(text).digest('hex');

/** What a check of audit lines found. */
export interface AuditVerdict {
  readonly lines: number;
  /** Sequence numbers of the first and the last line; 0 when there is none. */
  readonly first: number;
  readonly last: number;
  /** Hash of the last line, to compare with a copy kept elsewhere: a chain can't tell that its own end was cut off. */
  readonly hash: string;
  /** One sentence about the first line that doesn't fit; absent when all do. */
  readonly fault?: string;
}

/**
 * Checks that each line is whole and follows the one before. `stream` holds one file, or a rotated set, oldest first.
 * The first line may have any number, since older files go by rotation, but number 1 must begin a chain.
 */
export async function verifyAudit(stream: Readable): Promise<AuditVerdict> {
  let lines = 0;
  let first = 0;
  let last: ChainEnd = chainStart;
  const verdict = () => ({ lines, first, last: last.seq, hash: last.hash });
  for await (const line of createInterface({ input: stream, crlfDelay: 0 })) {
    const read = readLine(line);
    const fault = faultOf(read, lines === 0 ? undefined : last);
    if (fault || !read) {
      stream.destroy();
      return { ...verdict(), fault: `Line ${lines + 1} ${fault}.` };
    }
    lines += 1;
    first ||= read.seq;
    last = read;
  }
  return verdict();
}

function faultOf(read: ReturnType<typeof readLine>, last: ChainEnd | undefined): string | undefined {
  if (!read) return 'was changed or is no audit line';
  if (!last)
    return read.seq === 1 && read.prev !== chainStart.hash ? 'has number 1 but follows another line' : undefined;
  if (read.seq !== last.seq + 1)
    return `has number ${read.seq} where ${last.seq + 1} is due: lines are missing or repeated`;
  return read.prev === last.hash ? undefined : `does not follow line number ${last.seq}`;
}
