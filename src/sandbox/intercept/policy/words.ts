import type { CommandArgument, Word, WordPart } from 'unbash';

/** One word of a command as far as it can be read without running anything. */
export interface Arg {
  /** As written. */
  readonly text: string;
  /** What the shell makes of it; `undefined` when that depends on a variable, a file name, a command. */
  readonly value: string | undefined;
  /** It becomes exactly one word, whatever its expansions hold. */
  readonly single: boolean;
  /** It has a process substitution. */
  readonly process: boolean;
}

export function toArg(node: CommandArgument): Arg {
  if (node.type === 'Word') return wordArg(node);
  const value = node.value.type === 'Word' ? staticValue(node.value) : undefined;
  const joined = value === undefined ? undefined : `${node.name}${node.append ? '+' : ''}=${value}`;
  return { text: node.text, value: node.index ? undefined : joined, single: true, process: false };
}

export function wordArg(word: Word): Arg {
  const parts = word.parts ?? [];
  return {
    text: word.text,
    value: staticValue(word),
    single: parts.every((part) => isStatic(part) || isQuotedOnce(part)),
    process: parts.some((part) => part.type === 'ProcessSubstitution'),
  };
}

/** The word's value where it is written out in full. */
export function staticValue(word: Word): string | undefined {
  return (word.parts ?? []).every(isStatic) ? word.value : undefined;
}

function isStatic(part: WordPart): boolean {
  if (part.type === 'DoubleQuoted') return part.parts.every((inner) => inner.type === 'Literal');
  return part.type === 'Literal' || part.type === 'SingleQuoted' || part.type === 'AnsiCQuoted';
}

/** Inside double quotes only `"$@"` and `"${a[@]}"` make several words. */
function isQuotedOnce(part: WordPart): boolean {
  return part.type === 'DoubleQuoted' && !/@/.test(part.text);
}

/** A command's name without its directory. */
export function baseName(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1);
}
