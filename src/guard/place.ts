import { existsSync, lstatSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { AppError } from '../errors.ts';

/**
 * Makes room for a socket: what a guard that was killed left there is removed. Rejects with an `AppError` where another
 * one listens, whose socket this one would take over and remove at its own end, and where there is no place for one.
 */
export async function makePlace(socket: string): Promise<void> {
  const directory = dirname(socket);
  if (!existsSync(directory)) throw unfit(`the directory ${directory} does not exist; make it, or set guard.socket.`);
  const found = onPlace(socket, () => lstatSync(socket, { throwIfNoEntry: false }));
  if (!found) return;
  if (!found.isSocket()) throw unfit(`expected a path for a socket, got ${socket}, where there is something else.`);
  if (await answers(socket))
    throw unfit(`another guard listens at ${socket}; end it, or set guard.socket.`, 'conflict');
  onPlace(socket, () => rmSync(socket, { force: true }));
}

function onPlace<T>(socket: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw noPlace(socket, cause as NodeJS.ErrnoException);
  }
}

/** What stands in the way of listening there, or of removing what was left. */
export function noPlace(socket: string, cause: NodeJS.ErrnoException): AppError {
  const why = `expected a path where this user may listen, got ${socket} (${cause.code ?? cause.message}).`;
  return unfit(why, 'invalid_argument', cause);
}

function unfit(why: string, code: 'conflict' | 'invalid_argument' = 'invalid_argument', cause?: unknown): AppError {
  return new AppError(code, `guard.socket: ${why}`, { cause });
}

/** Only a refusal proves that nobody listens: one whose backlog is full, or that this user may not reach, does. */
async function answers(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const probe = connect(path);
  probe.once('connect', () => resolve(true));
  probe.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT'));
  try {
    return await promise;
  } finally {
    probe.destroy();
  }
}
