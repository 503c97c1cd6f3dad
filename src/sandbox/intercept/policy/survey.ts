import { forEachChild, type Assignment, type Command, type Redirection, type Script, type SyntaxNode } from 'unbash';
import { fileSource, shellSource, shells } from './shells.ts';
import { baseName, staticValue, toArg, wordArg, type Arg } from './words.ts';
import { innerCommand, isAssignment, wrappers } from './wrappers.ts';

/** A command that the script names. */
export interface Invocation {
  readonly name: string;
  /** Its words as the shell reads them, joined by blanks. */
  readonly text: string;
  /** Offset in its script; -1 where a wrapper starts it, so that functions don't count. */
  readonly pos: number;
}

/** Something that runs a command which cannot be read off the script. */
export interface Doubt {
  /** The command, or the part of the script. */
  readonly subject: string;
  /** Why, as a clause: `its name is not written out`. */
  readonly reason: string;
  /** It is a shell that takes its commands from its input: on a terminal, from whoever types. */
  readonly typed: boolean;
}

export interface Survey {
  readonly invocations: readonly Invocation[];
  readonly doubts: readonly Doubt[];
  /** Scripts inside it, written out as text: `eval`, `bash -c`, `trap`. */
  readonly scripts: readonly string[];
  /** Functions that the script surely defines, and the offset from which on. */
  readonly functions: ReadonlyMap<string, number>;
}

/** Reads off a script what it would run, without following variables or files. */
export function survey(script: Script): Survey {
  const notes = new Notes();
  visit(script, notes);
  return { ...notes.taken, functions: functionsOf(script) };
}

class Notes {
  readonly taken = { invocations: [] as Invocation[], doubts: [] as Doubt[], scripts: [] as string[] };
  doubt(subject: string, reason: string, typed = false): void {
    this.taken.doubts.push({ subject, reason, typed });
  }
}

/** Only a definition that is a statement of its own, neither conditional nor in a subshell, is sure. */
function functionsOf(script: Script): Map<string, number> {
  const sure = script.commands.flatMap(({ command, background }) =>
    command.type === 'Function' && !background ? [[command.name.value, command.name.pos] as const] : [],
  );
  return new Map(sure.toReversed());
}

function visit(node: SyntaxNode, notes: Notes): void {
  if (node.type === 'Command') visitCommand(node, notes);
  if (node.type === 'Assignment') visitAssignment(node, notes);
  visitExpansion(node, notes);
  forEachChild(node, (child) => visit(child, notes));
}

/** Variables whose value the shell itself, or the loader, runs. */
const evaluated = /^(PROMPT_COMMAND|PS[0124]|BASH_ENV|ENV|LD_PRELOAD|LD_AUDIT|LD_LIBRARY_PATH|BASH_FUNC_.*)$/;

/** Text that arithmetic would run when it meets it as a variable's value. */
const hiddenSubstitution = /\[.*(\$\(|\$\{|`)/s;

function visitAssignment(node: Assignment, notes: Notes): void {
  if (evaluated.test(node.name)) notes.doubt(node.name, 'the shell would run its value');
  const values = node.value.type === 'Word' ? [node.value] : node.value.elements;
  for (const word of values) {
    const value = staticValue(word);
    if (value === undefined) continue;
    if (evaluated.test(value)) notes.doubt(node.name, `it would stand for ${value}, whose value the shell runs`);
    if (hiddenSubstitution.test(value)) notes.doubt(node.name, 'its value hides a substitution');
  }
}

function visitExpansion(node: SyntaxNode, notes: Notes): void {
  if (node.type === 'ParameterExpansion') {
    const { operation, parameter } = node;
    if (operation?.type === 'Transform' && /P/.test(operation.operand.value))
      notes.doubt(node.text, 'it runs what the variable holds');
    if (operation?.type === 'Default' && evaluated.test(parameter))
      notes.doubt(parameter, 'the shell would run its value');
  }
  if ((node.type === 'For' || node.type === 'Select') && evaluated.test(node.name.value)) {
    notes.doubt(node.name.value, 'the shell would run its value');
  }
  if (
    node.type === 'TestUnary' &&
    hiddenSubstitution.test(node.operand.value) &&
    staticValue(node.operand) !== undefined
  ) {
    notes.doubt('[[', 'its operand hides a substitution');
  }
}

/** What a command's words and redirections amount to. */
interface Line {
  readonly args: readonly Arg[];
  readonly redirects: readonly Redirection[];
  readonly pos: number;
}

function visitCommand(node: Command, notes: Notes): void {
  if (node.name === undefined) return;
  const args = [wordArg(node.name), ...node.args.map(toArg)];
  invoke({ args, redirects: node.redirects, pos: node.pos }, notes);
}

function invoke(line: Line, notes: Notes): void {
  const [command, ...args] = line.args;
  if (command === undefined) return;
  const text = line.args.map((arg) => arg.value ?? arg.text).join(' ');
  if (command.value === undefined || command.value === '') {
    notes.doubt(command.text, 'its name is not written out');
    return;
  }
  notes.taken.invocations.push({ name: command.value, text, pos: line.pos });
  inspect(baseName(command.value), { ...line, args }, notes);
}

function inspect(name: string, line: Line, notes: Notes): void {
  const options = Object.hasOwn(wrappers, name) ? wrappers[name] : undefined;
  if (name === 'command' && /^-[pvV]*[vV]/.test(line.args[0]?.value ?? '')) return;
  if (options) wrapped(name, innerCommand(line.args, options), line, notes);
  else if (shells.has(name)) shell(name, line, notes);
  else specials.get(name)?.(name, line, notes);
}

function wrapped(name: string, inner: ReturnType<typeof innerCommand>, line: Line, notes: Notes): void {
  if ('doubt' in inner) {
    notes.doubt(name, `${inner.doubt.text} among its options is not understood`);
    return;
  }
  const own = line.args.slice(0, line.args.length - inner.args.length);
  for (const arg of own) if (isAssignment(arg)) checkVariable(name, arg, notes);
  const args = name === 'xargs' ? replaced(inner.args, placeholders(own)) : inner.args;
  if (name === 'xargs' && endsOpen(args)) notes.doubt(name, 'its input would name the command');
  invoke({ args, redirects: line.redirects, pos: -1 }, notes);
}

/** The strings that `xargs -I` replaces by its input. */
function placeholders(options: readonly Arg[]): readonly string[] {
  const given = options.flatMap((arg, index) => {
    const match = /^(?:-[^-]*?[Ii]|--replace=?)(.*)$/s.exec(arg.value ?? '');
    return match ? [match[1] || '{}', options[index + 1]?.value ?? '{}'] : [];
  });
  return given.length === 0 ? [] : ['{}', ...given];
}

function replaced(args: readonly Arg[], marks: readonly string[]): readonly Arg[] {
  return args.map((arg) => (marks.some((mark) => arg.value?.includes(mark)) ? { ...arg, value: undefined } : arg));
}

/** With words from elsewhere at its end the command would run them: a wrapper without a command, a shell without a script. */
function endsOpen(args: readonly Arg[]): boolean {
  const name = baseName(args[0]?.value ?? '');
  const options = Object.hasOwn(wrappers, name) ? wrappers[name] : undefined;
  if (!options) return ['eval', '.', 'source', 'trap', 'find', 'watch'].includes(name) && args.length === 1;
  const inner = innerCommand(args.slice(1), options);
  return !('doubt' in inner) && (inner.args.length === 0 || endsOpen(inner.args));
}

function shell(name: string, line: Line, notes: Notes): void {
  const source = shellSource(line.args, line.redirects);
  if ('script' in source) notes.taken.scripts.push(source.script);
  if ('doubt' in source) notes.doubt(name, source.doubt, source.doubt.includes('input'));
}

type Special = (name: string, line: Line, notes: Notes) => void;

const specials: ReadonlyMap<string, Special> = new Map<string, Special>([
  ['eval', joined],
  ['watch', watch],
  ['flock', flock],
  ['find', find],
  ['fd', fd],
  ['fdfind', fd],
  ['trap', trap],
  ['source', source],
  ['.', source],
  ['alias', alias],
  ['hash', forbidOption(/^-[a-z]*p/, 'it would give a name another meaning')],
  ['enable', forbidOption(/^-[a-z]*f/, 'it would load a builtin')],
  ['bind', forbidOption(/./, 'it would bind a key to a command')],
  ['complete', forbidOption(/^-[a-zA-Z]*[CF]/, 'it would run a command at completion')],
  ['compgen', forbidOption(/^-[a-zA-Z]*[CFW]/, 'it would run a command')],
  ...['mapfile', 'readarray'].map((name): [string, Special] => [name, readLines]),
  ...[
    'export',
    'declare',
    'typeset',
    'local',
    'readonly',
    'read',
    'printf',
    'getopts',
    'let',
    'test',
    '[',
    'unset',
  ].map((name): [string, Special] => [name, setsVariables]),
]);

function joined(name: string, { args }: Line, notes: Notes): void {
  const dynamic = args.find((arg) => arg.value === undefined);
  if (dynamic) notes.doubt(name, `${dynamic.text} is not written out`);
  else
    notes.taken.scripts.push(
      args
        .map((arg) => arg.value)
        .join(' ')
        .replace(/^-- /, ''),
    );
}

function watch(name: string, line: Line, notes: Notes): void {
  const inner = innerCommand(line.args, {
    flags: 'bcdegptwxr',
    values: 'nq',
    longFlags: ['color', 'differences', 'no-title'],
    longValues: ['interval'],
  });
  if ('doubt' in inner) notes.doubt(name, `${inner.doubt.text} among its options is not understood`);
  else joined(name, { ...line, args: inner.args }, notes);
}

function flock(name: string, line: Line, notes: Notes): void {
  const flags = {
    flags: 'ensuxoFv',
    values: 'wE',
    longFlags: ['nonblock', 'exclusive', 'shared'],
    longValues: ['timeout'],
  };
  const inner = innerCommand(line.args, { ...flags, positional: 1 });
  if ('doubt' in inner) return notes.doubt(name, `${inner.doubt.text} among its options is not understood`);
  const [first, script] = inner.args;
  if (first?.value === '-c' || first?.value === '--command')
    return joined(name, { ...line, args: script ? [script] : [] }, notes);
  return invoke({ ...line, args: inner.args, pos: -1 }, notes);
}

function find(name: string, line: Line, notes: Notes): void {
  for (const [index, arg] of line.args.entries()) {
    if (!/^-(exec|ok)(dir)?$/.test(arg.value ?? '')) continue;
    const rest = line.args.slice(index + 1);
    const end = rest.findIndex(
      (word, place) => word.value === ';' || (word.value === '+' && rest[place - 1]?.value === '{}'),
    );
    spawned(name, { ...line, args: end < 0 ? rest : rest.slice(0, end) }, notes);
  }
}

function fd(name: string, line: Line, notes: Notes): void {
  const at = line.args.findIndex((arg) => /^(-[a-zA-Z]*[xX].*|--exec(-batch)?(=.*)?)$/.test(arg.value ?? ''));
  if (at < 0) return;
  if (!/^(-[xX]|--exec|--exec-batch)$/.test(line.args[at]?.value ?? ''))
    return notes.doubt(name, 'its -x is not a word of its own');
  spawned(name, { ...line, args: line.args.slice(at + 1) }, notes);
}

function spawned(name: string, line: Line, notes: Notes): void {
  const args = line.args.map((arg) => (/\{[/.]*\}/.test(arg.value ?? arg.text) ? { ...arg, value: undefined } : arg));
  const shellOnly = args.filter((arg) => arg.value !== undefined);
  if (endsOpen(shellOnly)) notes.doubt(name, 'the files it finds would name the command');
  invoke({ args, redirects: [], pos: -1 }, notes);
}

function trap(name: string, { args }: Line, notes: Notes): void {
  const words = args[0]?.value === '--' ? args.slice(1) : args;
  const [action] = words;
  if (action === undefined || /^(-[lpP]?|\d*)$/.test(action.value ?? 'x')) return;
  if (action.value === undefined) notes.doubt(name, 'its action is not written out');
  else notes.taken.scripts.push(action.value);
}

function source(name: string, { args }: Line, notes: Notes): void {
  const [file] = args[0]?.value === '--' ? args.slice(1) : args;
  const read = file && fileSource(file);
  if (read && 'doubt' in read) notes.doubt(name, read.doubt);
}

function alias(name: string, { args }: Line, notes: Notes): void {
  if (args.some((arg) => arg.text.includes('=') || arg.value === undefined)) {
    notes.doubt(name, 'it would give a name another meaning');
  }
}

function forbidOption(option: RegExp, reason: string): Special {
  return (name, { args }, notes) => {
    if (args.some((arg) => arg.value === undefined || option.test(arg.value))) notes.doubt(name, reason);
  };
}

function readLines(name: string, line: Line, notes: Notes): void {
  forbidOption(/^-[a-zA-Z]*C/, 'it would run a command for each line')(name, line, notes);
  setsVariables(name, line, notes);
}

function setsVariables(name: string, { args }: Line, notes: Notes): void {
  for (const arg of args) checkVariable(name, arg, notes);
}

function checkVariable(name: string, arg: Arg, notes: Notes): void {
  const variable = (arg.value ?? arg.text).replace(/\+?=.*$/s, '').replace(/^-v/, '');
  if (evaluated.test(variable)) notes.doubt(variable, 'the shell would run its value');
  if (arg.value !== undefined && hiddenSubstitution.test(arg.value))
    notes.doubt(name, `${arg.text} hides a substitution`);
}
