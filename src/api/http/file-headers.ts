import type { Context } from 'hono';
import { getMimeType } from 'hono/utils/mime';
import type { OpenFile } from '../../sandbox/ports/workspace.ts';
import type { HttpEnv } from './env.ts';
import { parseRange, type ByteRange } from './range.ts';

/** Whatever the file holds, a browser neither guesses a type for it nor runs it in this origin. */
const defences = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "sandbox; default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'cache-control': 'private, no-cache',
};

export function fileHeaders({ stat, tag }: OpenFile, inline: boolean): Headers {
  return new Headers({
    ...defences,
    'content-type': getMimeType(stat.path) ?? 'application/octet-stream',
    'content-disposition': disposition(inline ? 'inline' : 'attachment', nameOf(stat.path)),
    'accept-ranges': 'bytes',
    'last-modified': httpDate(stat.mtime),
    etag: `"${tag}"`,
    vary: 'accept',
  });
}

export function directoryHeaders(path: string): Headers {
  return new Headers({
    ...defences,
    'content-type': 'application/x-tar',
    'content-disposition': disposition('attachment', `${nameOf(path) || 'workspace'}.tar`),
    vary: 'accept',
  });
}

/** Whether the caller's copy is still good (RFC 9110, 13.2.2). */
export function isUnchanged(c: Context<HttpEnv>, { stat, tag }: OpenFile): boolean {
  const tags = c.req.header('if-none-match');
  if (tags !== undefined)
    return tags.trim() === '*' || tags.split(',').some((one) => one.trim().replace(/^W\//, '') === `"${tag}"`);
  const since = Date.parse(c.req.header('if-modified-since') ?? '');
  return stat.mtime * 1000 <= since;
}

/** As `parseRange`; an `If-Range` of another version asks for the whole file. */
export function rangeOf(c: Context<HttpEnv>, { stat, tag }: OpenFile): ByteRange | null | undefined {
  const condition = c.req.header('if-range')?.trim();
  if (condition !== undefined && condition !== `"${tag}"` && condition !== httpDate(stat.mtime)) return undefined;
  return parseRange(c.req.header('range'), stat.size);
}

function httpDate(seconds: number): string {
  return new Date(Math.max(0, seconds) * 1000).toUTCString();
}

function nameOf(path: string): string {
  return path.replace(/\/+$/, '').split('/').at(-1) ?? '';
}

/** RFC 6266: a plain name for all, and the exact one in UTF-8. */
function disposition(kind: 'inline' | 'attachment', name: string): string {
  const plain = name.replace(/[^\x20-\x7e]|["\\%]/g, '_');
  const exact = encodeURIComponent(name.toWellFormed()).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
  return `${kind}; filename="${plain}"; filename*=UTF-8''${exact}`;
}
