import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Screen } from '../../src/sandbox/session/terminal/screen.ts';
import { StringBound } from '../../src/sandbox/session/terminal/string-bound.ts';

function screen(rows = 6, cols = 20): Screen & { answers: string[] } {
  const answers: string[] = [];
  const made = new Screen({ rows, cols, scrollback: 100, answer: (text) => answers.push(text) });
  return Object.assign(made, { answers });
}

async function rowsAfter(text: string | Uint8Array, rows = 6, cols = 20): Promise<string[]> {
  using made = screen(rows, cols);
  await made.draw(Buffer.from(text));
  return made.rows();
}

/** Sequences that the emulator would repeat 2^31 times in one go. */
for (const final of ['L', 'M', 'S', 'T', 'I', 'Z', 'b']) {
  test(`CSI 2147483647 ${final} is ignored`, async () => {
    assert.deepEqual(await rowsAfter(`ab\r\ncd\x1b[2147483647${final}!`), ['ab', 'cd!']);
  });
}

test('the same sequences do their work where a screen has room for it', async () => {
  assert.deepEqual(await rowsAfter('a\r\nb\x1b[1;1H\x1b[2L'), ['', '', 'a', 'b']);
  assert.deepEqual(await rowsAfter('a\r\nb\r\nc\x1b[1;1H\x1b[2M'), ['c']);
  assert.deepEqual(await rowsAfter('x\x1b[4b'), ['xxxxx']);
  assert.deepEqual(await rowsAfter('x\x1b[2Iy'), ['x               y']);
});

test('wide characters and emoji take two cells', async () => {
  assert.deepEqual(await rowsAfter('你😀|\x1b[1;5Hx'), ['你😀x']);
});

test('marks join a character, and no more than a few', async () => {
  assert.deepEqual(await rowsAfter('e\u0301x'), ['e\u0301x']);
  const rows = await rowsAfter(`e${'\u0301'.repeat(1000)}`);
  assert.equal(rows.join('').length, 1001);
  assert.ok(rows.length === 3 && rows.every((row) => row.length <= 20 * 17));
});

test('a title without an end is cut off, and the text after it is shown', async () => {
  const rows = await rowsAfter(`\x1b]0;${'t'.repeat(70_000)}\r\nshown`);
  assert.equal(rows.at(-1), 'shown');
});

test('a control string is ended after 64 KiB, wherever the chunks are cut', () => {
  const payload = Buffer.from(`a\x1b]0;${'é'.repeat(50_000)}\x07b${'c'.repeat(70_000)}`);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40_000 }), (size) => {
      const bound = new StringBound();
      const out: Uint8Array[] = [];
      for (let at = 0; at < payload.length; at += size) out.push(...bound.pass(payload.subarray(at, at + size)));
      const text = Buffer.concat(out);
      assert.equal(text.toString().replaceAll('\x18', ''), payload.toString());
      let run = 0;
      for (const byte of text) {
        run = byte === 0x18 || byte === 0x1b || byte === 0x07 ? 0 : run + 1;
        assert.ok(run <= 64 * 1024 + 4);
      }
    }),
    { numRuns: 50 },
  );
});

test('hyperlinks are not kept', async () => {
  assert.deepEqual(await rowsAfter('\x1b]8;;http://x\x07link\x1b]8;;\x07'), ['link']);
});

test('a larger screen keeps fewer lines above it', async () => {
  using made = new Screen({ rows: 10, cols: 1000, scrollback: 1000, answer: () => {} });
  await made.draw(Buffer.from('x\r\n'.repeat(2000)));
  assert.ok(made.repaint().length < 210 * 4);
});

test('no sequence stops the emulator or takes long', async () => {
  const number = fc.oneof(
    fc.constantFrom('', '0', '1', '2', '24', '999', '1049', '2147483647', '99999999999'),
    fc.nat().map(String),
  );
  const params = fc.array(number, { maxLength: 5 }).map((parts) => parts.join(';'));
  const csi = fc
    .tuple(
      fc.constantFrom('', '?', '>', '=', '<', '!'),
      params,
      fc.constantFrom('', ' ', '$', "'", '"', '*'),
      fc.integer({ min: 0x40, max: 0x7e }),
    )
    .map(([prefix, list, middle, final]) => `\x1b[${prefix}${list}${middle}${String.fromCharCode(final)}`);
  const osc = fc
    .tuple(fc.nat({ max: 120 }), fc.string({ maxLength: 20 }))
    .map(([id, text]) => `\x1b]${id};${text}\x07`);
  const dcs = fc.string({ maxLength: 20 }).map((text) => `\x1bP${text}\x1b\\`);
  const esc = fc.integer({ min: 0x20, max: 0x7e }).map((byte) => `\x1b${String.fromCharCode(byte)}`);
  const text = fc.string({ unit: 'binary', maxLength: 30 });
  const part = fc.oneof(
    csi,
    csi,
    csi,
    osc,
    dcs,
    esc,
    text,
    fc.constantFrom('\n', '\r', '\t', '\x9b5L', '\x1b7', '\x1b8'),
  );
  const seconds = Number(process.env['FUZZ_SECONDS'] ?? 0);
  const bound = seconds > 0 ? { numRuns: 1e9, interruptAfterTimeLimit: seconds * 1000 } : { numRuns: 300 };
  using made = screen(24, 80);
  await fc.assert(
    fc.asyncProperty(fc.array(part, { maxLength: 40 }), fc.boolean(), async (parts, resize) => {
      if (resize) made.resize({ rows: 1 + (parts.length % 30), cols: 1 + ((parts.length * 7) % 90) });
      const cost = await made.draw(Buffer.from(parts.join('')));
      assert.ok(cost < 5000, `${cost} ms for ${JSON.stringify(parts)}`);
      made.rows();
      made.repaint();
    }),
    bound,
  );
});
