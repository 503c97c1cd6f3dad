import { AppError } from '../../errors.ts';
import { shown } from './paths.ts';

/** Lines shown before and after a change. */
const around = 3;
const mostShown = 20;
/** Pieces of text joined at once. */
const batch = 4096;

export interface Edited {
  readonly text: string;
  readonly count: number;
  /** The lines around each of the first changes, as they are now. */
  readonly lines: { from: number; text: string }[];
}

export interface Edit {
  readonly oldText: string;
  readonly newText: string;
  /** Replace every occurrence; else there must be exactly one. */
  readonly all: boolean;
  /** Bytes that the edited text may have. */
  readonly limit: number;
}

/** Replaces text; throws with a sentence unless it occurs once, or at least once with `all`, and the result fits. */
export function replaceText(path: string, text: string, edit: Edit): Edited {
  const { oldText, newText } = edit;
  if (oldText === '') throw new AppError('invalid_argument', 'old_text must not be empty.');
  if (oldText === newText)
    throw new AppError('invalid_argument', 'new_text must differ from old_text; both are the same.');
  const { count, places } = occurrences(text, oldText);
  if (count === 0) throw notThere(path, text, oldText);
  if (count > 1 && !edit.all) throw ambiguous(path, text, count, places);
  checkSize(path, text, count, edit);
  const edited = replaced(text, oldText, newText);
  const grown = newText.length - oldText.length;
  const starts = places.map((place, i) => place + i * grown);
  return { text: edited, count, lines: excerpts(edited, starts, newText.length) };
}

/** How often `part` occurs, and the first places: a text of megabytes has millions. */
function occurrences(text: string, part: string): { count: number; places: number[] } {
  const places: number[] = [];
  let count = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) {
    count += 1;
    if (places.length < mostShown) places.push(at);
  }
  return { count, places };
}

/** Before anything is built: what replaces a letter in every place may have gigabytes. */
function checkSize(path: string, text: string, count: number, { oldText, newText, limit }: Edit): void {
  const size = Buffer.byteLength(text) + count * (Buffer.byteLength(newText) - Buffer.byteLength(oldText));
  if (size <= limit) return;
  const message = `${shown(path)} must have at most ${limit} bytes after an edit; this one would make it ${size}. Nothing was changed.`;
  throw new AppError('too_large', message, { data: { count, size, limit } });
}

/** In batches: the pieces between millions of places take more memory than the text. */
function replaced(text: string, oldText: string, newText: string): string {
  const batches: string[] = [];
  let pieces: string[] = [];
  let from = 0;
  for (let at = text.indexOf(oldText); at >= 0; at = text.indexOf(oldText, from)) {
    pieces.push(text.slice(from, at));
    from = at + oldText.length;
    if (pieces.length < batch) continue;
    batches.push(pieces.join(newText));
    pieces = [];
  }
  pieces.push(text.slice(from));
  batches.push(pieces.join(newText));
  return batches.join(newText);
}

function notThere(path: string, text: string, oldText: string): AppError {
  const lenient = (one: string) => one.replace(/\s+/g, ' ').trim();
  const hint = lenient(oldText) !== '' && lenient(text).includes(lenient(oldText));
  const why = hint ? ' With other white space or line ends it does: copy it exactly.' : '';
  return new AppError('invalid_argument', `old_text does not occur in ${shown(path)}; nothing was changed.${why}`);
}

function ambiguous(path: string, text: string, count: number, places: readonly number[]): AppError {
  const numbers = lineNumbers(text, places.slice(0, 10)).join(', ');
  const more = count > 10 ? ', …' : '';
  return new AppError(
    'invalid_argument',
    `old_text must occur exactly once in ${shown(path)}, but occurs ${count} times (lines ${numbers}${more}); ` +
      'give more of its surroundings, or set all.',
    { data: { count } },
  );
}

/** The 1-based line of each place; `places` ascend. */
function lineNumbers(text: string, places: readonly number[]): number[] {
  let line = 1;
  let from = 0;
  return places.map((place) => {
    for (let at = text.indexOf('\n', from); at >= 0 && at < place; at = text.indexOf('\n', at + 1)) line += 1;
    from = place;
    return line;
  });
}

function excerpts(text: string, starts: readonly number[], length: number): { from: number; text: string }[] {
  const found: { from: number; text: string; end: number }[] = [];
  for (const [i, line] of lineNumbers(text, starts).entries()) {
    const begin = before(text, starts[i]!);
    const end = after(text, starts[i]! + Math.max(0, length - 1));
    const last = found.at(-1);
    if (last !== undefined && begin.at <= last.end) {
      last.text += text.slice(last.end, Math.max(end, last.end));
      last.end = Math.max(end, last.end);
    } else found.push({ from: line - begin.lines, text: text.slice(begin.at, end), end });
  }
  return found.map(({ from, text: lines }) => ({ from, text: lines }));
}

/** Where the line `around` lines above begins, and how many lines above it is. */
function before(text: string, place: number): { at: number; lines: number } {
  let at = text.lastIndexOf('\n', place - 1) + 1;
  if (place === 0) at = 0;
  let lines = 0;
  while (at > 0 && lines < around) {
    at = at === 1 ? 0 : text.lastIndexOf('\n', at - 2) + 1;
    lines += 1;
  }
  return { at, lines };
}

function after(text: string, place: number): number {
  let at = place;
  for (let lines = 0; lines <= around; lines += 1) {
    const end = text.indexOf('\n', at);
    if (end < 0) return text.length;
    at = end + 1;
  }
  return at - 1;
}
