import { AppError, type ErrorCode } from '../../errors.ts';
import { shown } from './paths.ts';

/** `other` is the second path of a call that has two. */
type Failure = readonly [ErrorCode, (path: string, other: string) => string];

/** What a script's `E KIND` means. */
const kinds: Readonly<Record<string, Failure>> = {
  is_directory: ['conflict', (path) => `${path} is a directory.`],
  not_directory: ['conflict', (path) => `${path} is not a directory.`],
  special: ['conflict', (path) => `${path} is neither a regular file nor a directory.`],
  denied: ['forbidden', (path) => `The sandbox's user has no permission for ${path}.`],
  dangling: ['not_found', (path) => `${path} is a symbolic link that leads nowhere.`],
  broken: ['invalid_argument', (path) => `The upload to ${path} broke off; nothing was kept.`],
  exists: ['conflict', (path) => `${path} is there already; nothing was changed.`],
  root: ['invalid_argument', (path) => `${path} must be a part of the workspace; it is, or holds, the whole of it.`],
  taken: ['conflict', (_, other) => `${other} is there already; nothing was moved.`],
  no_parent: ['invalid_argument', (_, other) => `The directory that ${other} would be in does not exist.`],
  to_closed: ['forbidden', (_, other) => `The sandbox's user has no permission for the directory of ${other}.`],
  changed: ['conflict', (path) => `${path} changed while it was being edited; read it again and repeat the edit.`],
};

/** What an `E KIND PLACE` means; in a place's name, what is not ASCII has become `?`. */
const places: Readonly<Record<string, readonly [ErrorCode, (path: string, place: string) => string]>> = {
  clash: [
    'conflict',
    (path, place) => `The archive would swap a file and a directory at ${place} in ${path}; nothing was changed.`,
  ],
  closed: [
    'forbidden',
    (path, place) => `The sandbox's user may not write to ${place} in ${path}; nothing was changed.`,
  ],
  under: ['not_found', (path, place) => `A part of ${path} is a file, not a directory: ${place}.`],
};

/** The system's words for a failure, of glibc and musl, at the end of a line. */
const reasons: readonly (readonly [RegExp, Failure])[] = [
  [/: (No space left on device|(Disk q|Q)uota exceeded)$/m, ['disk_full', (path) => `No space is left for ${path}.`]],
  [/: No such file or directory$/m, ['not_found', (path) => `${path} does not exist.`]],
  [
    /: (Permission denied|Operation not permitted)$/m,
    ['forbidden', (path) => `The sandbox's user has no permission for ${path}.`],
  ],
  [/: Read-only file system$/m, ['forbidden', (path) => `${path} is on a read-only file system.`]],
  [/: Not a directory$/m, ['not_found', (path) => `A part of ${path} is a file, not a directory.`]],
  [/: Is a directory$/m, ['conflict', (path) => `${path} is a directory.`]],
  [
    /: (Too many levels of symbolic links|Symbolic link loop)$/m,
    ['not_found', (path) => `${path} is a loop of links.`],
  ],
  [/: (File ?name too long)$/m, ['invalid_argument', (path) => `A part of ${path} is too long for a file name.`]],
  [/: File too large$/m, ['too_large', (path) => `${path} is too large for its file system.`]],
  [
    /: Directory not empty$/m,
    ['conflict', (path) => `${path} is a directory with something in it; set recursive to remove all of it.`],
  ],
  [
    /(: Device or resource busy|: Resource busy)$/m,
    ['conflict', (path) => `${path} is, or holds, a mount, which stays where it is.`],
  ],
  [
    /: Invalid argument$| to a subdirectory of itself, /m,
    ['invalid_argument', (path, other) => `${path} can't be moved into itself, to ${other}.`],
  ],
  [/^mv: File exists$/m, ['conflict', (_, other) => `${other} is there already; nothing was moved.`]],
  [/: File exists$/m, ['conflict', (path) => `${path} is in the way of a directory or is being written.`]],
  [
    /: (Resource temporarily unavailable|Cannot allocate memory|Out of memory)$/m,
    ['busy', (path) => `The sandbox has no processes or no memory left to work on ${path}.`],
  ],
];

/** A script's failure as a client may see it. `stderr` is the container's: it is compared, never passed on. */
export function scriptFailure(kind: string, path: string, stderr: string, others: readonly string[] = []): AppError {
  const [name = '', tool = ''] = kind.split(' ');
  if (name === 'missing') return missingTool(tool);
  if (name === 'gone') return new AppError('not_found', `${shown(others[Number(tool)] ?? path)} does not exist.`);
  const place = places[name];
  if (place !== undefined) return new AppError(place[0], place[1](shown(path), shown(kind.slice(name.length + 1))));
  const failure = kinds[name] ?? reasons.find(([pattern]) => pattern.test(stderr))?.[1];
  const data = { reason: name };
  if (failure !== undefined) return new AppError(failure[0], failure[1](shown(path), shown(others[0] ?? '')), { data });
  return new AppError('internal', `The sandbox could not work on ${shown(path)}.`, { cause: new Error(stderr), data });
}

/** A script that ended without a word. */
export function scriptDeath(exitCode: number, path: string, stderr: string): AppError {
  const cause = new Error(`exit code ${exitCode}: ${stderr}`);
  if (exitCode === 126 || exitCode === 127) {
    return new AppError('unsupported', 'Files cannot be reached in this sandbox: its bash is missing.', { cause });
  }
  const message = `The sandbox ended the work on ${shown(path)} before it was done (exit code ${exitCode}).`;
  return new AppError('internal', message, { cause });
}

function missingTool(tool: string): AppError {
  const name = /^[a-z0-9]{1,20}$/.test(tool) ? tool : 'such tool';
  return new AppError('unsupported', `This sandbox's image has no ${name}, which this file operation needs.`, {
    data: { missing: name },
  });
}
