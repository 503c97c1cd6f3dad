import { accessSync, constants, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { getSystemErrorMessage } from 'node:util';
import { AppError } from '../errors.ts';

/** What the file system throws has `errno`, what SQLite throws has `errcode`. */
type Trouble = NodeJS.ErrnoException & { readonly errcode?: number };

/** SQLite's primary result codes. */
const sqlite = { busy: 5, corrupt: 11, full: 13, noDatabase: 26 };

/** Throws an `AppError` for the operator where this user cannot make it, or not write there. */
export function makeStateDirectory(directory: string): void {
  onState(directory, () => {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    accessSync(directory, constants.W_OK | constants.X_OK);
  });
}

/** Holds the directory until it is disposed or the process ends. Throws `conflict` while another process does. */
export function holdState(directory: string): Disposable {
  const path = join(directory, 'lock.sqlite');
  const lock = onState(path, () => holdLock(path), 'it holds nothing');
  return { [Symbol.dispose]: () => lock.close() };
}

/** An exclusive transaction that lasts as long as the process: the operating system ends it with a killed server. */
function holdLock(path: string): DatabaseSync {
  const lock = new DatabaseSync(path, { timeout: 2000 });
  try {
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;');
    return lock;
  } catch (cause) {
    lock.close();
    if (!isBusy(cause as Error)) throw cause;
    throw new AppError(
      'conflict',
      'server.state_dir: another Berth server is using this directory; stop it or choose another directory.',
      { cause },
    );
  }
}

/**
 * Makes, opens or first reads a file of the state. What stands in the way becomes one sentence for the operator, which
 * names his own path: no client is there yet. Its two halves are the data `detail` and `advice`. `loss` is what nobody knows without the file.
 */
export function onState<T>(file: string, work: () => T, loss = 'sandboxes and API keys in it are then unknown'): T {
  try {
    return work();
  } catch (cause) {
    const data = explain(cause as Trouble, file, loss);
    if (data === undefined) throw cause;
    throw new AppError('invalid_argument', `server.state_dir: ${data.detail}; ${data.advice}.`, { cause, data });
  }
}

function isBusy({ errcode }: Trouble): boolean {
  return primary(errcode) === sqlite.busy;
}

const primary = (errcode: number | undefined): number => (errcode ?? 0) & 0xff;

/** What is wrong, and what to do; undefined for what is no trouble with a file. */
function explain(trouble: Trouble, file: string, loss: string): { detail: string; advice: string } | undefined {
  const { code, errno, errcode, message, path } = trouble;
  if (errcode === undefined && errno === undefined) return undefined;
  if ([sqlite.corrupt, sqlite.noDatabase].includes(primary(errcode)))
    return { detail: `${file} is damaged (${message})`, advice: `put a copy back, or move it away: ${loss}` };
  const reason = code === 'EEXIST' ? 'not a directory' : errno === undefined ? message : getSystemErrorMessage(errno);
  return { detail: `${path ?? file} cannot be used (${reason})`, advice: adviceFor(trouble) };
}

function adviceFor({ code = '', errcode }: Trouble): string {
  if (code === 'ENOSPC' || primary(errcode) === sqlite.full) return 'make room on its disk';
  if (primary(errcode) === sqlite.busy) return 'end the process that holds it';
  if (code === 'EISDIR') return 'move it away, or set another directory';
  return ['EEXIST', 'ENOTDIR'].includes(code)
    ? 'set another directory'
    : 'let this user write there, or set another directory';
}
