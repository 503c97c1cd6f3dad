import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KeptOutput } from '../../src/sandbox/session/shell/output.ts';
import { ByteRing } from '../../src/lib/ring.ts';

const limits = { head: 4, tail: 6, window: 16 };

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

function kept(...pieces: string[]): KeptOutput {
  const output = new KeptOutput(limits);
  for (const piece of pieces) output.append(Buffer.from(piece, 'latin1'));
  return output;
}

test('a short output is shown whole', () => {
  const shown = kept('abc', 'defghij').shown();
  assert.equal(text(shown.head), 'abcdefghij');
  assert.equal(text(shown.tail), '');
  assert.equal(shown.omitted, 0);
  assert.equal(shown.total, 10);
});

test('a long output shows its first and last bytes and says how many are between', () => {
  const shown = kept('abcdefghijklmnopqrstuvwxyz').shown();
  assert.equal(text(shown.head), 'abcd');
  assert.equal(text(shown.tail), 'uvwxyz');
  assert.equal(shown.omitted, 16);
  assert.equal(shown.total, 26);
});

test('a cut leaves no part of a character', () => {
  const output = new KeptOutput(limits);
  output.append(Buffer.from('abcé-----é12345'));
  const shown = output.shown();
  assert.equal(Buffer.from(shown.head).toString(), 'abc');
  assert.equal(Buffer.from(shown.tail).toString(), '12345');
  assert.equal(shown.omitted, 17 - 3 - 5);
});

test('pages go on from offset to offset and say what is no longer held', () => {
  const output = kept('abcdefghijklmnopqrstuvwxyz');
  assert.deepEqual(
    { ...output.page(0, 10), bytes: text(output.page(0, 10).bytes) },
    {
      bytes: 'abcd',
      offset: 0,
      next: 4,
      evicted: 0,
      total: 26,
    },
  );
  assert.deepEqual(
    { ...output.page(4, 10), bytes: text(output.page(4, 10).bytes) },
    {
      bytes: 'klmnopqrst',
      offset: 10,
      next: 20,
      evicted: 6,
      total: 26,
    },
  );
  assert.equal(text(output.page(20, 10).bytes), 'uvwxyz');
  assert.deepEqual({ ...output.page(99, 10), bytes: '' }, { bytes: '', offset: 26, next: 26, evicted: 0, total: 26 });
});

test('bytes that were lost on the way are counted and leave a gap', () => {
  const output = kept('abcdefgh');
  output.drop(100);
  output.append(Buffer.from('xyz'));
  const shown = output.shown();
  assert.equal(text(shown.head), 'abcd');
  assert.equal(text(shown.tail), 'xyz');
  assert.deepEqual([shown.omitted, shown.total, shown.dropped], [104, 111, 100]);
});

test('giving up the window keeps the head and the total', () => {
  const output = kept('abcdefghij');
  output.evict();
  const shown = output.shown();
  assert.deepEqual([text(shown.head), text(shown.tail), shown.omitted, shown.total], ['abcd', '', 6, 10]);
  assert.equal(output.allocated, 4);
});

test('giving up all of it keeps the total, and a page says what is gone', () => {
  const output = kept('abcdefghij');
  output.clear();
  assert.deepEqual([output.total, output.allocated], [10, 0]);
  output.append(Buffer.from('xyz'));
  const page = output.page(0, 7);
  assert.deepEqual([text(page.bytes), page.offset, page.evicted, page.total], ['xyz', 10, 10, 13]);
});

test('kept output equals the whole output cut by hand', () => {
  const ascii = fc.uint8Array({ min: 97, max: 122, maxLength: 24 });
  fc.assert(
    fc.property(fc.array(ascii, { maxLength: 12 }), fc.nat({ max: 80 }), (pieces, offset) => {
      const output = new KeptOutput(limits);
      for (const piece of pieces) output.append(piece);
      const whole = Buffer.concat(pieces);
      const shown = output.shown();
      if (whole.length <= 10) assert.equal(text(shown.head), text(whole));
      else
        assert.deepEqual([text(shown.head), text(shown.tail)], [text(whole.subarray(0, 4)), text(whole.subarray(-6))]);
      assert.equal(shown.omitted, Math.max(0, whole.length - shown.head.length - shown.tail.length));
      const page = output.page(offset, 7);
      assert.equal(text(page.bytes), text(whole.subarray(page.offset, page.next)));
      assert.ok(output.allocated <= 16 + 4);
    }),
  );
});

test('a ring holds the last bytes of what it was given', () => {
  const action = fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.nat({ max: 200 }));
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 32 }), fc.array(action, { maxLength: 20 }), (capacity, actions) => {
      const ring = new ByteRing(capacity);
      let whole = Buffer.alloc(0);
      let start = 0;
      for (const step of actions) {
        if (typeof step === 'number') {
          ring.trim(step);
          start = Math.max(start, Math.min(step, whole.length));
        } else {
          ring.append(step);
          whole = Buffer.concat([whole, step]);
          start = Math.max(start, whole.length - capacity);
        }
        assert.deepEqual([ring.start, ring.end], [start, whole.length]);
        assert.equal(text(ring.read(0, whole.length)), text(whole.subarray(start)));
        assert.ok(ring.allocated <= capacity);
      }
    }),
  );
});
