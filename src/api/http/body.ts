import { AppError } from '../../errors.ts';
import { byteSize } from '../../lib/text.ts';

const maxDepth = 64;

/** How slow a sender may be: so many milliseconds, and one more for so many bytes that have come. */
export interface Pace {
  readonly grace: number;
  readonly bytesPerMs: number;
}

const slowest: Pace = { grace: 30_000, bytesPerMs: 20 };

/**
 * A request's JSON, or `undefined` for a body that is none: UTF-8, at most `limit` bytes, 64 levels deep, and not for ever
 * in coming.
 */
export async function readJson(request: Request, limit: number, pace: Pace = slowest): Promise<unknown> {
  const text = await readText(request, limit, pace);
  if (depthOf(text) > maxDepth)
    throw new AppError('invalid_argument', `The JSON body is nested deeper than ${maxDepth} levels.`);
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function readText(request: Request, limit: number, pace: Pace): Promise<string> {
  if (Number(request.headers.get('content-length')) > limit) throw tooLarge(limit);
  if (!request.body) return '';
  const reader = request.body.getReader();
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const started = performance.now();
  let received = 0;
  let text = '';
  for (;;) {
    const left = started + pace.grace + received / pace.bytesPerMs - performance.now();
    const { done, value } = await within(left, reader);
    received += value?.byteLength ?? 0;
    if (received > limit) throw tooLarge(limit);
    text += decoded(decoder, value);
    if (done) return text;
  }
}

/** The next piece's text; no piece is the end. Refuses what is no UTF-8: with U+FFFD in its place it would be written or run. */
function decoded(decoder: TextDecoder, piece: Uint8Array | undefined): string {
  try {
    return decoder.decode(piece, { stream: piece !== undefined });
  } catch (cause) {
    throw new AppError('invalid_argument', 'The JSON body must be UTF-8; bytes came that are not.', { cause });
  }
}

async function within<T>(milliseconds: number, reader: ReadableStreamDefaultReader<T>) {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(tooSlow), Math.max(0, milliseconds));
  try {
    return await Promise.race([reader.read(), late]);
  } finally {
    clearTimeout(timer);
  }
}

const tooSlow = new AppError('timeout', 'The request body came too slowly and was given up.');

function tooLarge(limit: number): AppError {
  return new AppError(
    'too_large',
    `The request body is longer than ${byteSize(limit)}; send big files over PUT /sandboxes/{id}/files.`,
  );
}

/** The deepest nesting of brackets outside of strings. Stops counting once past the limit. */
function depthOf(json: string): number {
  let depth = 0;
  let deepest = 0;
  for (let at = 0; at < json.length && deepest <= maxDepth; at++) {
    const code = json.charCodeAt(at);
    if (code === 0x22) at = endOfString(json, at + 1);
    else if (code === 0x5b || code === 0x7b) deepest = Math.max(deepest, ++depth);
    else if (code === 0x5d || code === 0x7d) depth--;
  }
  return deepest;
}

/** Where the quote is that ends a string; megabytes of a file are one string, and are not looked at one by one. */
function endOfString(json: string, from: number): number {
  let end = from - 1;
  let escapes = 1;
  while (escapes % 2 === 1) {
    end = json.indexOf('"', end + 1);
    if (end < 0) return json.length;
    for (escapes = 0; json.charCodeAt(end - 1 - escapes) === 0x5c;) escapes++;
  }
  return end;
}
