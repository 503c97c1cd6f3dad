import vm from 'node:vm';
import { AppError } from '../../errors.ts';
import { stripEscapes } from './escapes.ts';

/** Characters of a pattern. */
const longestPattern = 1000;
/** Newest bytes that it is matched against. */
export const patternWindow = 64 * 1024;
/** Milliseconds of processor time that one match may take. */
const budget = 20;

/**
 * A caller's regular expression, matched against text that a hostile program may have written. A match that backtracks
 * without end is stopped by the engine after some milliseconds and refused.
 */
export class Pattern {
  readonly #pattern: RegExp;

  /** `^` and `$` match at lines. Throws `invalid_argument` for what is not a regular expression. */
  constructor(source: string) {
    if (source.length > longestPattern) throw invalid(`at most ${longestPattern} characters; got ${source.length}`);
    this.#pattern = compile(source);
  }

  /** Whether the newest 64 KiB match, without terminal escapes. Throws `invalid_argument` when that takes too long. */
  matches(bytes: Uint8Array): boolean {
    const text = stripEscapes(bytes.subarray(-patternWindow)).toString();
    const before = process.threadCpuUsage();
    for (;;) {
      const found = test(this.#pattern, text);
      if (found !== undefined) return found;
      // The engine stops by the clock: on a busy machine that says nothing of the pattern.
      const { user, system } = process.threadCpuUsage(before);
      if (user + system >= budget * 1000) throw tooSlow(text);
    }
  }
}

const scope: { pattern: RegExp; text: string } = { pattern: /^/, text: '' };
let prepared: { script: vm.Script; context: vm.Context } | undefined;

/** `pattern.test(text)`, or undefined when it was stopped: only a script of its own can be stopped in the middle of a match. */
function test(pattern: RegExp, text: string): boolean | undefined {
  prepared ??= { script: new vm.Script('pattern.test(text)'), context: vm.createContext(scope) };
  scope.pattern = pattern;
  scope.text = text;
  try {
    return prepared.script.runInContext(prepared.context, { timeout: budget }) as boolean;
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') return undefined;
    throw error;
  } finally {
    scope.text = '';
  }
}

function tooSlow(text: string): AppError {
  return invalid(`a pattern that is matched in ${budget} ms; this one took longer on ${text.length} characters`);
}

function compile(source: string): RegExp {
  try {
    return new RegExp(source, 'm');
  } catch (error) {
    throw invalid(`a regular expression; ${(error as Error).message.slice(0, 200)}`);
  }
}

function invalid(expected: string): AppError {
  return new AppError('invalid_argument', `until: expected ${expected}.`);
}
