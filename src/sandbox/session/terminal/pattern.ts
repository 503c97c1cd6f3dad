import vm from 'node:vm';
import { RE2JS } from 're2js';
import { AppError } from '../../../errors.ts';
import { re2 } from '../../../lib/re2.ts';
import { stripEscapes } from '../../../lib/escapes.ts';

/** Characters of a pattern. */
const longestPattern = 1000;
/** Newest bytes that it is matched against. */
export const patternWindow = 64 * 1024;
/** Milliseconds of processor time that one match may take, and the compilation of one pattern. */
const budget = { match: 20, compile: 200 };

/**
 * A caller's regular expression, matched against text that a hostile program may have written. It is RE2's: JavaScript's
 * own backtracks, and the compilation of one, which nothing can stop, takes hours for some of a few hundred characters.
 */
export class Pattern {
  readonly #pattern: RE2JS;

  /** `^` and `$` match at lines. Throws `invalid_argument` for what is not a regular expression. */
  constructor(source: string) {
    if (source.length > longestPattern) throw invalid(`at most ${longestPattern} characters; got ${source.length}`);
    const compiled = within(budget.compile, () => compile(source));
    if (!compiled) throw invalid(`a pattern that is read in ${budget.compile} ms`);
    this.#pattern = compiled;
  }

  /** Whether the newest 64 KiB match, without terminal escapes. Throws `invalid_argument` when that takes too long. */
  matches(bytes: Uint8Array): boolean {
    const text = stripEscapes(bytes.subarray(-patternWindow)).toString();
    const found = within(budget.match, () => this.#pattern.test(text));
    if (found !== undefined) return found;
    throw invalid(`a pattern that is matched in ${budget.match} ms; this one took longer on ${text.length} characters`);
  }
}

const scope: { act: () => unknown } = { act: () => {} };
let prepared: { script: vm.Script; context: vm.Context } | undefined;

/**
 * What `act` returns; undefined when it was stopped after so many milliseconds of processor time. The engine stops by the
 * clock, which says nothing of the act on a busy machine: it is begun again, then.
 */
function within<T>(milliseconds: number, act: () => T): T | undefined {
  const before = process.threadCpuUsage();
  for (;;) {
    try {
      return interruptible(milliseconds, act);
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
    }
    const { user, system } = process.threadCpuUsage(before);
    if (user + system >= milliseconds * 1000) return undefined;
  }
}

/** Only what a script of its own calls can be stopped in the middle. */
function interruptible<T>(timeout: number, act: () => T): T {
  prepared ??= { script: new vm.Script('act()'), context: vm.createContext(scope) };
  scope.act = act;
  try {
    return prepared.script.runInContext(prepared.context, { timeout }) as T;
  } finally {
    scope.act = () => {};
  }
}

function compile(source: string): RE2JS {
  try {
    return re2(source, RE2JS.MULTILINE);
  } catch (error) {
    const why = (error as Error).message.replace(/^error parsing regexp: /, '').slice(0, 200);
    throw invalid(`a regular expression, without look-around and back-references; ${why}`);
  }
}

function invalid(expected: string): AppError {
  return new AppError('invalid_argument', `until: expected ${expected}.`);
}
