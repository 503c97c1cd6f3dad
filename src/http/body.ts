import { AppError } from '../errors.ts';
import { byteSize } from '../mcp/text.ts';

const maxDepth = 64;
/** A body of this many bytes may take so many milliseconds; a slower sender is cut off. */
const slowest = (bytes: number): number => 30_000 + bytes / 20;

/** A request's JSON: at most `limit` bytes, at most 64 levels deep, and not for ever in coming. */
export async function readJson(request: Request, limit: number): Promise<unknown> {
  const text = await readText(request, limit);
  if (depthOf(text) > maxDepth)
    throw new AppError('invalid_argument', `The JSON body is nested deeper than ${maxDepth} levels.`);
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function readText(request: Request, limit: number): Promise<string> {
  const declared = Number(request.headers.get('content-length') ?? 0);
  if (declared > limit) throw tooLarge(limit);
  if (!request.body) return '';
  const reader = request.body.getReader();
  const timer = setTimeout(() => void reader.cancel(new Error('slow')).catch(() => {}), slowest(limit));
  const decoder = new TextDecoder();
  let received = 0;
  let text = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return text + decoder.decode();
      received += value.byteLength;
      if (received > limit) throw tooLarge(limit);
      text += decoder.decode(value, { stream: true });
    }
  } finally {
    clearTimeout(timer);
    reader.releaseLock();
  }
}

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
  let inString = false;
  for (let at = 0; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (inString) {
      if (code === 0x5c) at++;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x5b || code === 0x7b) deepest = Math.max(deepest, ++depth);
    else if (code === 0x5d || code === 0x7d) depth--;
    if (deepest > maxDepth) break;
  }
  return deepest;
}
