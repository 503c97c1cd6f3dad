import type { Context } from 'hono';
import { AppError } from '../../errors.ts';
import { shown } from '../../sandbox/files/paths.ts';
import type { HttpEnv } from './env.ts';
import { foreignCoding } from './json-form.ts';

/**
 * Refuses an upload that says nothing about its length (411) or too much of it (413), or whose bytes are not the file's
 * own, before a byte is read.
 */
export function needBody(c: Context<HttpEnv>, limit: number): Response | undefined {
  const { 'content-length': length, 'transfer-encoding': encoding } = c.req.header();
  const coding = foreignCoding(c.req.header('content-encoding'));
  if (coding !== undefined) {
    throw new AppError('invalid_argument', `content-encoding must be absent; got ${shown(coding)}.`);
  }
  if (length !== undefined && Number(length) > limit) {
    throw new AppError('too_large', `The body must be at most ${limit} bytes; ${length} were announced.`);
  }
  if (length !== undefined || encoding !== undefined) return undefined;
  const message = 'An upload needs a content-length, or a chunked transfer-encoding.';
  return Response.json({ error: { code: 'invalid_argument', message } }, { status: 411 });
}

/** The hex SHA-256 that the body must have, from `X-Content-SHA256` (hex) or `Content-Digest: sha-256=:…:` (RFC 9530). */
export function digestOf(c: Context<HttpEnv>): string | undefined {
  const hex = c.req.header('x-content-sha256');
  const digest = c.req.header('content-digest');
  if (hex !== undefined && !/^[0-9a-f]{64}$/i.test(hex)) {
    throw new AppError('invalid_argument', `X-Content-SHA256 must be 64 hex digits; got ${shown(hex)}.`);
  }
  const listed = /(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):/.exec(digest ?? '')?.[1];
  if (listed === undefined && digest?.includes('sha-256')) {
    throw new AppError('invalid_argument', `Content-Digest must be sha-256=:base64:; got ${shown(digest)}.`);
  }
  return hex?.toLowerCase() ?? (listed && Buffer.from(listed, 'base64').toString('hex'));
}

/** The permission bits of `?mode=755`. */
export function modeOf(c: Context<HttpEnv>): number | undefined {
  const mode = c.req.query('mode');
  if (mode === undefined) return undefined;
  if (!/^0?[0-7]{3}$/.test(mode)) {
    throw new AppError('invalid_argument', `mode must be three octal digits like 644; got ${shown(mode)}.`);
  }
  return Number.parseInt(mode, 8);
}
