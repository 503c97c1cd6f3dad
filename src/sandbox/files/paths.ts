import { AppError } from '../../errors.ts';

const longestPath = 4095;
const longestShown = 200;
/** C0 and C1 controls, and the characters that reorder or break lines in what a person reads. */
const unprintable = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** A client's path as an absolute one in the sandbox: relative and `~/` paths are under `root`. Rejects with a sentence. */
export function resolvePath(root: string, path: string): string {
  if (path.includes('\0') || !path.isWellFormed()) {
    throw new AppError('invalid_argument', `path must be text without NUL bytes; got ${shown(path)}.`);
  }
  const home = path === '~' || path.startsWith('~/') ? path.slice(1) : path;
  const absolute = path === home && path.startsWith('/') ? path : `${root}/${home}`;
  const tidy = absolute.split('/').filter((part) => part !== '' && part !== '.');
  const resolved = `/${tidy.join('/')}`;
  if (Buffer.byteLength(resolved) > longestPath) {
    throw new AppError('invalid_argument', `path must be at most ${longestPath} bytes long; got ${shown(path)}.`);
  }
  return resolved;
}

/** As `resolvePath`, for a file to write: a path that ends in a slash names a directory. */
export function resolveFile(root: string, path: string): string {
  if (path === '' || /(^|\/)\.{0,2}$/.test(path)) {
    throw new AppError('invalid_argument', `path must name a file; got ${shown(path)}, which names a directory.`);
  }
  return resolvePath(root, path);
}

/** As `resolvePath`, for what is to be made, moved or removed by its name: that is neither the root nor `..`. */
export function resolveEntry(root: string, path: string): string {
  const resolved = resolvePath(root, path);
  if (path === '' || resolved === '/' || resolved === root || /(^|\/)\.\.$/.test(resolved)) {
    throw new AppError('invalid_argument', `path must name a file or directory in the workspace; got ${shown(path)}.`);
  }
  return resolved;
}

/** A path for a sentence: quoted, bounded, no control characters. */
export function shown(path: string): string {
  const short = path.length > longestShown ? `${path.slice(0, longestShown)}…` : path;
  return `"${short.replace(/["\\]/g, '\\$&').replace(unprintable, escape)}"`;
}

function escape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
