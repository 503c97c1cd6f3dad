import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { stripEscapes, unfinished } from '../../src/lib/escapes.ts';
import { Pace } from '../../src/lib/pace.ts';
import { Pattern } from '../../src/sandbox/session/terminal/pattern.ts';

const open: readonly [string, number][] = [
  ['', 0],
  ['plain', 0],
  ['a\x1b', 1],
  ['a\x1b[', 2],
  ['a\x1b[12;3', 6],
  ['a\x1b[12;3H', 0],
  ['a\x1b[31mred\x1b[0', 3],
  ['\x1b]0;title', 9],
  ['\x1b]0;title\x07', 0],
  ['\x1b]0;title\x1b', 10],
  ['\x1b]0;title\x1b\\', 0],
  ['\x1bP1$r0m', 7],
  ['\x1b(', 2],
  ['\x1b(B', 0],
  ['\x1b7', 0],
  ['\x1b[1\x1b[2', 3],
  ['é', 0],
  [`${'x'.repeat(9000)}\x1b]${'y'.repeat(5000)}`, 0],
];

for (const [text, count] of open) {
  test(`${JSON.stringify(text.slice(0, 20))} has ${count} unfinished bytes`, () =>
    assert.equal(unfinished(Buffer.from(text)), count));
}

test('a character that is cut is unfinished', () => {
  const bytes = Buffer.from('a😀');
  assert.deepEqual(
    [2, 3, 4, 5].map((size) => unfinished(bytes.subarray(0, size))),
    [1, 2, 3, 0],
  );
  assert.equal(unfinished(Buffer.from([0x41, 0xff])), 0);
  assert.equal(unfinished(Buffer.from([0x80, 0x80, 0x80, 0x80])), 0);
});

test('escapes are stripped and the text stays', () => {
  const text = '\x1b]0;t\x07\x1b[1;31mred\x1b[0m\r\nw\x1b(Bö\x07r\x1bPq\x1b\\d\x1b[3';
  assert.equal(stripEscapes(Buffer.from(text)).toString(), 'red\nwörd');
});

test('cutting anywhere and putting the unfinished bytes back changes nothing', () => {
  const part = fc.constantFrom('a', 'é', '😀', '\x1b[31m', '\x1b]0;x\x07', '\x1b(B', '\r\n', '\x1bPx\x1b\\', '\x1b7');
  fc.assert(
    fc.property(fc.array(part), fc.nat(), (parts, at) => {
      const bytes = Buffer.from(parts.join(''));
      const head = bytes.subarray(0, at % (bytes.length + 1));
      const cut = head.length - unfinished(head);
      const [first, second] = [bytes.subarray(0, cut), bytes.subarray(cut)];
      const joined = Buffer.concat([stripEscapes(first), stripEscapes(second)]).toString();
      assert.equal(joined, stripEscapes(bytes).toString());
      assert.equal(first.toString() + second.toString(), bytes.toString());
    }),
  );
});

test('a pattern matches the text a person reads, line by line', () => {
  const bytes = Buffer.from('\x1b[32mready\x1b[0m in 3 s\r\n$ ');
  assert.equal(new Pattern('^ready in \\d+ s$').matches(bytes), true);
  assert.equal(new Pattern('\\$ $').matches(bytes), true);
  assert.equal(new Pattern('^in').matches(bytes), false);
});

test('a pattern that backtracks without end elsewhere is matched in linear time', () => {
  assert.equal(new Pattern('(a+)+$').matches(Buffer.from(`${'a'.repeat(60)}b`)), false);
  const slowToCompile = new Pattern('a?'.repeat(450) + 'a'.repeat(90));
  assert.equal(slowToCompile.matches(Buffer.from('a'.repeat(89))), false);
  assert.equal(slowToCompile.matches(Buffer.from('a'.repeat(90))), true);
});

test('a pattern that takes too long is refused', () => {
  assert.throws(() => new Pattern('.{1000}'.repeat(100)).matches(Buffer.alloc(65_536, 'a')), {
    code: 'invalid_argument',
    message: 'until: expected a pattern that is matched in 20 ms; this one took longer on 65536 characters.',
  });
});

test('what is no pattern is refused', () => {
  assert.throws(() => new Pattern('(['), {
    code: 'invalid_argument',
    message: 'until: expected a regular expression, without look-around and back-references; missing closing ]: `[`.',
  });
  assert.throws(() => new Pattern('x'.repeat(1001)), { message: 'until: expected at most 1000 characters; got 1001.' });
});

test('a pace lets a burst pass and holds the rest to its rate', () => {
  const pace = new Pace(1, 500);
  assert.equal(pace.take(500, 10_000), 0);
  assert.equal(pace.take(100, 10_000), 100);
  assert.equal(pace.take(100, 10_100), 100);
  assert.equal(pace.take(500, 20_000), 0);
});
