import { posix } from 'node:path';
import { AppError } from '../../../errors.ts';
import { keyText } from './keys.ts';
import type { SentInput } from '../../ports/workspace.ts';
import type { Size } from './screen.ts';

const largest = { rows: 500, cols: 1000 } as const;
const longestCommand = 60_000;
const longestInput = 1_000_000;
const workspace = '/workspace';

export function checkedSize(size: Size): Size {
  for (const name of ['cols', 'rows'] as const) {
    const value = size[name];
    if (!Number.isInteger(value) || value < 1 || value > largest[name]) {
      throw invalid(`${name}: expected a whole number from 1 to ${largest[name]}; got ${value}.`);
    }
  }
  return size;
}

/** The argument vector of a terminal: the shell with a command line; none for the host's own interactive shell. */
export function terminalArgv(shell: string, command: string | undefined): string[] {
  if (command === undefined) return [];
  checkText('command', command, longestCommand);
  return [shell, '-c', command];
}

/** An absolute directory; a relative one is under `/workspace`. */
export function terminalCwd(cwd: string | undefined, fallback: string): string {
  if (cwd === undefined) return fallback;
  checkText('cwd', cwd, 4096);
  return posix.resolve(workspace, cwd);
}

export interface TypedInput {
  readonly input?: string;
  readonly raw?: boolean;
  readonly keys?: readonly string[];
}

/** What the program has asked its terminal for. */
export interface InputModes {
  readonly applicationCursor: boolean;
  readonly bracketedPaste: boolean;
}

/**
 * What a person would have typed: Enter for every newline, and one at the end unless the input is raw. What a person would
 * paste, text of several lines or with tabs, is a paste where the program knows one: at a prompt a typed tab completes.
 * Keys come last.
 */
export function typedBytes({ input, raw, keys = [] }: TypedInput, modes: InputModes): Buffer {
  if (input === undefined && keys.length === 0) {
    throw invalid('input: expected text to type, or names of keys in keys; got neither.');
  }
  const typed = input === undefined || raw ? (input ?? '') : entered(input, modes);
  const pressed = keys.map((name) => keyText(name, modes.applicationCursor)).join('');
  const bytes = Buffer.from(typed + pressed);
  if (bytes.length <= longestInput) return bytes;
  throw new AppError('too_large', `input: expected at most ${longestInput} bytes; got ${bytes.length}.`);
}

function entered(input: string, { bracketedPaste }: InputModes): string {
  const text = input.replace(/\r?\n/g, '\r').replace(/\r$/, '');
  return `${bracketedPaste && isPaste({ input }) ? pasted(text) : text}\r`;
}

function isPaste({ input = '', raw }: TypedInput): boolean {
  return !raw && /[\t\n\r]/.test(input.replace(/\r?\n$|\r$/, ''));
}

/** What looks like the paste's end within it would let the rest count as typed. */
function pasted(text: string): string {
  return `\x1b[200~${text.replaceAll('\x1b[201~', '')}\x1b[201~`;
}

/** Bytes of a line that the kernel keeps for a program that reads lines; it drops the rest in silence. */
const longestLine = 4095;

/** How the input went in. */
export function sentInput(typed: TypedInput, modes: InputModes): SentInput {
  // A program that knows a paste reads keys by itself.
  if (modes.bracketedPaste) return { pasted: isPaste(typed), longLine: null };
  const longest = Math.max(...(typed.input ?? '').split(/[\r\n]/).map((line) => Buffer.byteLength(line)));
  return { pasted: false, longLine: longest > longestLine ? longest : null };
}

function checkText(name: string, text: string, longest: number): void {
  if (text.includes('\0')) throw invalid(`${name}: expected text without NUL characters.`);
  const bytes = Buffer.byteLength(text);
  if (bytes > longest) throw invalid(`${name}: expected at most ${longest} bytes; got ${bytes}.`);
}

function invalid(message: string): AppError {
  return new AppError('invalid_argument', message);
}
