import { AppError } from '../../../errors.ts';

const escape = '\x1b';

/** A table in which only its own names are found. */
function table<T>(entries: Record<string, T>): Readonly<Record<string, T>> {
  return Object.assign(Object.create(null), entries);
}

/** Keys that send one text, whatever the terminal's mode. */
const plain = table({
  enter: '\r',
  return: '\r',
  tab: '\t',
  'shift-tab': `${escape}[Z`,
  backtab: `${escape}[Z`,
  escape,
  esc: escape,
  space: ' ',
  backspace: '\x7f',
  'ctrl-backspace': '\x08',
  'ctrl-space': '\0',
  'ctrl-@': '\0',
  'ctrl-[': escape,
  'ctrl-\\': '\x1c',
  'ctrl-]': '\x1d',
  'ctrl-^': '\x1e',
  'ctrl-_': '\x1f',
  'ctrl-/': '\x1f',
  'ctrl-?': '\x7f',
});

/** The last letter of `CSI 1 ; m X`, and of `SS3 X` in application mode. */
const lettered = table({
  up: 'A',
  down: 'B',
  right: 'C',
  left: 'D',
  home: 'H',
  end: 'F',
});

/** F1 to F4 are `SS3 X` in every mode. */
const functionLetters = table({ f1: 'P', f2: 'Q', f3: 'R', f4: 'S' });

/** The number of `CSI n ~`. */
const numbered = table({
  insert: 2,
  delete: 3,
  'page-up': 5,
  'page-down': 6,
  f5: 15,
  f6: 17,
  f7: 18,
  f8: 19,
  f9: 20,
  f10: 21,
  f11: 23,
  f12: 24,
});

const synonyms = table({
  ins: 'insert',
  del: 'delete',
  pageup: 'page-up',
  pgup: 'page-up',
  pagedown: 'page-down',
  pgdn: 'page-down',
  pgdown: 'page-down',
  'arrow-up': 'up',
  'arrow-down': 'down',
  'arrow-left': 'left',
  'arrow-right': 'right',
});

const modifiers: Readonly<Record<string, number>> = {
  shift: 1,
  alt: 2,
  meta: 2,
  ctrl: 4,
  control: 4,
  c: 4,
  m: 2,
  s: 1,
};

/** A sample for messages and descriptions. */
export const keyExamples = 'ctrl-c, up, enter, tab, escape, page-down, f5, alt-x, ctrl-right';

/** What a terminal sends for a key, e.g. `ctrl-c`, `up`, `f5`, `alt-x`, `^D`. Throws `invalid_argument` for an unknown name. */
export function keyText(name: string, applicationCursor: boolean): string {
  const text = lookUp(normal(name), applicationCursor);
  if (text !== undefined) return text;
  const shown = JSON.stringify(name.slice(0, 40));
  throw new AppError('invalid_argument', `keys: expected names such as ${keyExamples}; got ${shown}.`);
}

function normal(name: string): string {
  const lower = name.trim().toLowerCase();
  if (/^\^.$/.test(lower)) return `ctrl-${lower.slice(1)}`;
  return lower.replace(/(?<=\w)[+_ ](?=.)/g, '-');
}

function lookUp(name: string, applicationCursor: boolean): string | undefined {
  const known = plain[name];
  if (known !== undefined) return known;
  const { key, modifier } = splitModifiers(name);
  return special(synonyms[key] ?? key, modifier, applicationCursor) ?? character(key, modifier);
}

function splitModifiers(name: string): { key: string; modifier: number } {
  let key = name;
  let modifier = 0;
  for (;;) {
    const match = /^(shift|alt|meta|ctrl|control|c|m|s)-(.+)$/.exec(key);
    const bit = modifiers[match?.[1] ?? ''];
    if (!match?.[2] || bit === undefined) return { key, modifier };
    modifier |= bit;
    key = match[2];
  }
}

function special(key: string, modifier: number, applicationCursor: boolean): string | undefined {
  const letter = lettered[key];
  const functionLetter = functionLetters[key];
  const number = numbered[key];
  if (modifier > 0 && (letter ?? functionLetter)) return `${escape}[1;${modifier + 1}${letter ?? functionLetter}`;
  if (letter) return applicationCursor ? `${escape}O${letter}` : `${escape}[${letter}`;
  if (functionLetter) return `${escape}O${functionLetter}`;
  if (number === undefined) return undefined;
  return modifier > 0 ? `${escape}[${number};${modifier + 1}~` : `${escape}[${number}~`;
}

/** A character, or a plain key, with modifiers: ctrl makes a control code, alt puts ESC before it. */
function character(key: string, modifier: number): string | undefined {
  const named = plain[key] ?? (/^[\x21-\x7e]$/.test(key) ? key : undefined);
  if (named === undefined) return undefined;
  const shifted = modifier & 1 && /^[a-z]$/.test(named) ? named.toUpperCase() : named;
  const held = modifier & 4 ? control(shifted) : shifted;
  if (held === undefined) return undefined;
  return modifier & 2 ? escape + held : held;
}

function control(key: string): string | undefined {
  if (plain[`ctrl-${key}`] !== undefined) return plain[`ctrl-${key}`];
  return /^[a-z]$/i.test(key) ? String.fromCharCode(key.toUpperCase().charCodeAt(0) - 0x40) : undefined;
}
