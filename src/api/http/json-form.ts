import { shown } from '../../sandbox/files/paths.ts';

/** Why a body in this form is not to be read as JSON: one sentence, or `undefined` for UTF-8 as it is. */
export function unreadable(headers: Headers): string | undefined {
  const coding = foreignCoding(headers.get('content-encoding'));
  if (coding !== undefined)
    return `The Content-Encoding of a JSON body must be absent or identity; got ${shown(coding)}.`;
  const charset = /;\s*charset\s*=\s*"?([^";\s]*)/i.exec(headers.get('content-type') ?? '')?.[1];
  if (charset === undefined || /^utf-?8$/i.test(charset)) return undefined;
  return `The charset of a JSON body must be absent or utf-8; got ${shown(charset)}.`;
}

/** A `Content-Encoding` under which the body is not the bytes that were meant. */
export function foreignCoding(header: string | null | undefined): string | undefined {
  const coding = header?.trim() ?? '';
  return /^(identity)?$/i.test(coding) ? undefined : coding;
}
