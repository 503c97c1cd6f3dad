import type { Context } from 'hono';
import { AppError } from '../../errors.ts';
import { shown } from '../../sandbox/files/paths.ts';
import type { FilesPort } from '../../sandbox/ports/workspace.ts';
import type { HttpEnv } from './env.ts';

const tag = /(W\/)?"[\x21\x23-\x7e\x80-\xff]*"/.source;
const tags = new RegExp(`^${tag}(\\s*,\\s*${tag})*$`);

/**
 * The tag that the file must still have when an upload replaces it, of `If-Match`. Of several tags, and of `*`, it is the
 * present one: the writing holds to one tag alone, and a file that another writer changes meanwhile is a conflict.
 */
export async function requiredTag(
  c: Context<HttpEnv>,
  files: FilesPort,
  path: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const wanted = c.req.header('if-match')?.trim();
  if (wanted === undefined) return undefined;
  const own = /^"([0-9-]+)"$/.exec(wanted)?.[1];
  if (own !== undefined) return own;
  if (wanted !== '*' && !tags.test(wanted)) {
    throw new AppError('invalid_argument', `If-Match must be * or tags in double quotes; got ${shown(wanted)}.`);
  }
  await using file = await files.open(path, signal);
  // Compared strongly: a weak tag names no version (RFC 9110, 13.1.1).
  if (wanted === '*' || wanted.split(',').some((one) => one.trim() === `"${file.tag}"`)) return file.tag;
  throw new AppError('conflict', `${shown(path)} is not the version that If-Match names; read it again.`);
}

/** Refuses a header that says to write only a part or only sometimes, where nothing can hold to it. */
export function needUnconditional(c: Context<HttpEnv>, headers: readonly string[]): void {
  for (const name of headers) {
    const value = c.req.header(name);
    if (value === undefined) continue;
    throw new AppError('invalid_argument', `${name} must be absent: this PUT cannot hold to it; got ${shown(value)}.`);
  }
}
