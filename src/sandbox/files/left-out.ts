import { AppError } from '../../errors.ts';
import type { ScriptRun } from './run.ts';
import { shown } from './paths.ts';

/** The last entry of an archive from which something is missing. */
export const noticeName = 'NOT-IN-THIS-ARCHIVE.txt';

const longestNotice = 4096;
/** How GNU tar and busybox tell of what they could not open and went on without. */
const unopened = [
  /^tar: (.+): Cannot (?:open|stat|savedir|readlink): (?:Permission denied|No such file or directory)$/gm,
  /^tar: can't (?:open|stat|read) (?:directory )?'(.+)': (?:Permission denied|No such file or directory)$/gm,
];

/** What an archive says of what it left out; `undefined` when it is whole. */
export class LeftOut {
  readonly #run: ScriptRun;
  readonly #path: string;
  notice: string | undefined;

  constructor(run: ScriptRun, path: string) {
    this.#run = run;
    this.#path = path;
  }

  /** To be called with tar's exit code. What could not be opened is left out and named; anything else is an error. */
  async settle(exitCode: number): Promise<AppError | undefined> {
    if (exitCode === 0) return undefined;
    const words = await this.#run.finish();
    const names = unopened.flatMap((pattern) => Array.from(words.matchAll(pattern), ([, name]) => name!));
    const spoilt = /shrank|Read error|read error|short read/.test(words);
    if (names.length > 0 && !spoilt) this.notice = noticeOf(names, words.length >= longestNotice);
    else if (spoilt || exitCode !== 1 || /Permission denied|Cannot|can't/.test(words)) {
      return incomplete(this.#path, exitCode, words);
    }
    return undefined;
  }
}

function noticeOf(names: readonly string[], cut: boolean): string {
  const others = cut ? ['and others.'] : [];
  return ["These could not be read with the sandbox user's permissions:", ...names, ...others, ''].join('\n');
}

/** GNU tar exits 1 also for a file that merely grew or went while the archive was made; that is no fault of the archive. */
function incomplete(path: string, exitCode: number, words: string): AppError {
  const message = `The archive of ${shown(path)} is incomplete: a file in it could not be read or was cut short meanwhile.`;
  return new AppError('conflict', message, { cause: new Error(`tar exit code ${exitCode}: ${words}`) });
}
