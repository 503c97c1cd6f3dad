import type { z } from 'zod';
import { AppError } from '../../errors.ts';

/** Text that has a UTF-8 form. A lone surrogate has none, and would turn into another character on its way. */
export function wellFormed(schema: z.ZodString): z.ZodString {
  return schema.refine((text) => text.isWellFormed(), 'well-formed Unicode text (it holds half a surrogate pair)');
}

/** The bytes an argument stands for. Throws `invalid_argument` for what is no base64. */
export function bytesOf(content: string, encoding: 'utf-8' | 'base64'): Uint8Array {
  if (encoding === 'utf-8') return Buffer.from(content, 'utf8');
  const compact = content.replace(/[\r\n]/g, '');
  const at = compact.search(/[^A-Za-z0-9+/=]|=(?!=?$)/);
  if (at >= 0) throw new AppError('invalid_argument', `\`content\` must be base64, got ${describe(compact, at)}.`);
  if (compact.length % 4 !== 0)
    throw new AppError(
      'invalid_argument',
      `\`content\` must be base64 of a multiple of 4 characters, got ${compact.length}.`,
    );
  return Buffer.from(compact, 'base64');
}

function describe(text: string, at: number): string {
  return `${JSON.stringify(String.fromCodePoint(text.codePointAt(at)!))} at character ${at + 1}`;
}
