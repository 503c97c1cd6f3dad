import { grouped, readable } from '../../lib/text.ts';

/** Characters of a command that go back to whoever sent it. */
const longestEcho = 200;

/** Fields that hold what programs wrote. A file's content is not among them: what is edited must be exact. */
const written: ReadonlySet<string> = new Set(['stdout', 'stderr', 'output']);

type Fields = Readonly<Record<string, unknown>>;

/**
 * The structured form as a reader can take it who gets nothing else: it has the notes of the text, what programs wrote is
 * without terminal escapes unless `raw`, and a long command is shown by its beginning.
 */
export function shownFields(fields: Fields, notes: readonly string[], raw: boolean): Record<string, unknown> {
  const shown = Object.entries(fields).map(([name, value]) => [name, shownValue(name, value, raw)]);
  return { ...Object.fromEntries(shown), ...(notes.length > 0 && { notes: notes.map(readable) }) };
}

function shownValue(name: string, value: unknown, raw: boolean): unknown {
  if (typeof value === 'string') return shownString(name, value, raw);
  if (Array.isArray(value)) return value.map((item) => shownValue('', item, raw));
  return isFields(value) ? shownFields(value, [], raw) : value;
}

function shownString(name: string, value: string, raw: boolean): string {
  if (name === 'command') return beginning(value);
  return written.has(name) && !raw ? readable(value) : value;
}

/** Whole characters: half a surrogate pair is no text. */
function beginning(command: string): string {
  if (command.length <= longestEcho) return command;
  const kept = command.slice(0, longestEcho).replace(/[\ud800-\udbff]$/, '');
  return `${kept}… (${grouped(command.length)} characters in all)`;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null;
}
