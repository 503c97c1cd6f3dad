import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { cutAtEnd, cutAtStart, decodeBytes } from '../../src/lib/bytes.ts';

const bytes = (...values: number[]) => Uint8Array.from(values);
const utf8 = (text: string) => new TextEncoder().encode(text);

for (const [name, input, text, encoding] of [
  ['text', utf8('a\\b é 日本 😀\n'), 'a\\b é 日本 😀\n', 'utf-8'],
  ['nothing', bytes(), '', 'utf-8'],
  ['a byte order mark', utf8('\ufeffx'), '\ufeffx', 'utf-8'],
  ['NUL', bytes(0x61, 0), 'a\0', 'utf-8'],
  ['a lone byte', bytes(0x61, 0xff, 0x62), 'a\\xffb', 'escaped'],
  ['a backslash beside one', bytes(0x5c, 0xff), '\\\\\\xff', 'escaped'],
  ['latin-1', bytes(0x63, 0x61, 0x66, 0xe9), 'caf\\xe9', 'escaped'],
  ['an overlong form', bytes(0xc0, 0xaf), '\\xc0\\xaf', 'escaped'],
  ['a surrogate', bytes(0xed, 0xa0, 0x80), '\\xed\\xa0\\x80', 'escaped'],
  ['beyond Unicode', bytes(0xf4, 0x90, 0x80, 0x80), '\\xf4\\x90\\x80\\x80', 'escaped'],
  ['half a character', bytes(0xe2, 0x82), '\\xe2\\x82', 'escaped'],
  ['whole ones beside a bad one', Uint8Array.of(...utf8('é😀'), 0x80), 'é😀\\x80', 'escaped'],
] as const)
  test(`${name} as a string`, () => {
    assert.deepEqual(decodeBytes(input), [{ text, encoding }]);
  });

test('both parts of an output are given in one way', () => {
  const parts = decodeBytes(utf8('a\\b'), bytes(0xff));
  assert.deepEqual(parts, [
    { text: 'a\\\\b', encoding: 'escaped' },
    { text: '\\xff', encoding: 'escaped' },
  ]);
});

test('the bytes can always be had back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (input) => {
      const [{ text, encoding }] = decodeBytes(input) as [{ text: string; encoding: string }];
      assert.deepEqual(encoding === 'utf-8' ? utf8(text) : unescape(text), input);
    }),
    { numRuns: 3000 },
  );
});

function unescape(text: string): Uint8Array {
  const pieces = text.match(/\\\\|\\x[0-9a-f]{2}|[^\\]+/g) ?? [];
  return Uint8Array.from(
    pieces.flatMap((piece) => {
      if (piece === '\\\\') return [0x5c];
      return piece.startsWith('\\x') ? [Number.parseInt(piece.slice(2), 16)] : [...utf8(piece)];
    }),
  );
}

test('a cut finds the character it went through', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }), fc.nat(), (text, at) => {
      const all = utf8(text);
      const cut = at % (all.length + 1);
      const before = all.subarray(0, cut);
      const after = all.subarray(cut);
      const kept = before.subarray(0, before.length - cutAtEnd(before));
      const rest = after.subarray(cutAtStart(after));
      assert.equal(decodeBytes(kept)[0]?.encoding, 'utf-8');
      assert.equal(decodeBytes(rest)[0]?.encoding, 'utf-8');
      assert.ok(before.length - kept.length + after.length - rest.length <= 4);
    }),
  );
});

test('a run of continuation bytes is no cut', () => {
  assert.equal(cutAtStart(bytes(0x80, 0x80, 0x80, 0x80)), 0);
  assert.equal(cutAtEnd(bytes(0x80, 0x80, 0x80, 0x80)), 0);
});
