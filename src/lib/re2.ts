import { RE2JS } from 're2js';

/**
 * A regular expression of RE2 from one in JavaScript's words: it is matched in linear time, whatever the text. Throws for
 * what is none, look-around and back-references included.
 */
export function re2(source: string, flags = 0): RE2JS {
  return RE2JS.compile(RE2JS.translateRegExp(source), flags);
}
