import { AppError } from '../../../errors.ts';

/** Bytes of a command's text at most. */
export const maxCommandText = 1024 * 1024;

/** The command's bytes. Rejects what the shell could not be given as it is. */
export function commandBytes(text: string): Buffer {
  if (text.includes('\0')) {
    throw invalid(`command: expected text without NUL characters; there is one at position ${text.indexOf('\0')}.`);
  }
  const bytes = Buffer.from(text);
  if (bytes.length > maxCommandText) {
    throw new AppError(
      'too_large',
      `command: expected at most ${maxCommandText} bytes; got ${bytes.length}. Write long data to a file with upload_file and name it in the command.`,
    );
  }
  return bytes;
}

/** A span of time in seconds, above 0 and at most `max`; undefined stays undefined. */
export function checkSeconds(name: string, value: number | undefined, max: number): number | undefined {
  if (value === undefined) return undefined;
  if (value > 0 && value <= max) return value;
  throw invalid(`${name}: expected seconds above 0 and at most ${max}; got ${value}.`);
}

/** A wait in seconds, from 0 to `max`; undefined is 0. */
export function checkWait(value: number | undefined, max: number): number {
  if (value === undefined) return 0;
  if (value >= 0 && value <= max) return value;
  throw invalid(`wait: expected seconds from 0 to ${max}; got ${value}.`);
}

export function checkOffset(name: string, value: number | undefined): number {
  if (value === undefined) return 0;
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw invalid(`${name}: expected a whole number of bytes, 0 or more; got ${value}.`);
}

function invalid(message: string): AppError {
  return new AppError('invalid_argument', message);
}
