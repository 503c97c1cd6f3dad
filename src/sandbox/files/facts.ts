import { AppError } from '../../errors.ts';
import type { FileStat } from '../ports/workspace.ts';

export interface Facts {
  readonly stat: FileStat;
  /** Changes whenever the file does. Letters, digits and dashes. */
  readonly tag: string;
}

/** The line `MODE SIZE MTIME TAG` that scripts print of a file. */
export function parseFacts(path: string, line: string): Facts {
  const match = /^([0-9a-f]{1,8}) (\d{1,16}) (-?\d{1,12}) ([0-9-]{1,80})$/.exec(line);
  if (match === null) throw new AppError('internal', 'The sandbox gave a malformed answer about a file.');
  const bits = Number.parseInt(match[1]!, 16);
  const stat = { path, type: fileType(bits), size: Number(match[2]), mtime: Number(match[3]), mode: bits & 0o7777 };
  return { stat, tag: match[4]! };
}

function fileType(bits: number): FileStat['type'] {
  const types: Readonly<Record<number, FileStat['type']>> = {
    0o100000: 'file',
    0o040000: 'directory',
    0o120000: 'symlink',
  };
  return types[bits & 0o170000] ?? 'other';
}
