import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { AppError, errorTable, type ErrorCode } from '../../errors.ts';
import { adminSocket } from './socket.ts';

/** Asks the server that uses the state directory. Rejects with its error, or with `conflict` where none runs. */
export async function askServer(directory: string, method: 'GET' | 'POST', path: string): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  request({ socketPath: adminSocket(directory), method, path })
    .once('response', (response) => void text(response).then(resolve, reject))
    .once('error', (cause: NodeJS.ErrnoException) => reject(unreached(cause, directory)))
    .end();
  const answer = JSON.parse(await promise) as { error?: { code: ErrorCode; message: string } };
  if (!answer.error) return answer;
  const { code, message } = answer.error;
  throw new AppError(Object.hasOwn(errorTable, code) ? code : 'internal', message);
}

function unreached(cause: NodeJS.ErrnoException, directory: string): AppError {
  if (cause.code === 'EACCES')
    return new AppError('forbidden', `Only the user that runs the server of ${directory} may ask it.`, { cause });
  return new AppError('conflict', `No server runs with the state directory ${directory}.`, { cause });
}
