import { AppError } from '../../errors.ts';

export interface Replacement {
  readonly target: string;
  readonly replacement: string;
  /** From 1; the range that is looked through. */
  readonly start_line?: number | undefined;
  /** Included. */
  readonly end_line?: number | undefined;
  readonly allow_multiple?: boolean | undefined;
}

/** The text after all replacements, one after another. Throws `invalid_argument` for a target that is not there, or ambiguous. */
export function replaceAll(text: string, replacements: readonly Replacement[]): string {
  return replacements.reduce((current, one, index) => replaced(current, one, index + 1), text);
}

function replaced(
  text: string,
  { target, replacement, start_line: first = 1, end_line: last, allow_multiple: many }: Replacement,
  place: number,
): string {
  const from = lineStart(text, first);
  const to = last === undefined ? text.length : lineStart(text, last + 1);
  const parts = text.slice(from, Math.max(from, to)).split(target);
  const count = parts.length - 1;
  if (count === 0) throw wrong(place, 'its target is not in the file');
  if (count > 1 && !many)
    throw wrong(place, `its target occurs ${count} times; add text around it, or set allow_multiple`);
  return text.slice(0, from) + parts.join(replacement) + text.slice(Math.max(from, to));
}

function wrong(place: number, why: string): AppError {
  return new AppError('invalid_argument', `Replacement ${place} cannot be done: ${why}. Nothing was written.`);
}

/** Where a line begins, counted from 1; the end of the text for one beyond it. */
function lineStart(text: string, line: number): number {
  let at = 0;
  for (let count = 1; count < line; count++) {
    const end = text.indexOf('\n', at);
    if (end < 0) return text.length;
    at = end + 1;
  }
  return at;
}
