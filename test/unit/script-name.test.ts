import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ScriptName } from '../../src/sandbox/script-name.ts';

function rewritten(text: string, sizes: readonly number[] = [text.length || 1]): string {
  const name = new ScriptName();
  const bytes = Buffer.from(text, 'latin1');
  const out: Uint8Array[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1;
    out.push(Buffer.from(name.push(bytes.subarray(at, at + size))));
    at += size;
  }
  out.push(name.flush());
  return Buffer.concat(out).toString('latin1');
}

const cases: readonly [string, string][] = [
  ['/proc/1/fd/9: line 3: x: command not found\n', 'bash: line 3: x: command not found\n'],
  ['a\n/proc/1/fd/12: line 1: y\n', 'a\nbash: line 1: y\n'],
  ['see /proc/1/fd/9: line 3: x\n', 'see /proc/1/fd/9: line 3: x\n'],
  ['/proc/12/fd/9: line 3: x\n', '/proc/12/fd/9: line 3: x\n'],
  ['/proc/1/fd/9: No such file\n', '/proc/1/fd/9: No such file\n'],
  ['/proc/1/fd/9: lin', '/proc/1/fd/9: lin'],
  ['/', '/'],
  ['', ''],
  ['\n\n/proc/1/fd/9: line 10: a\n/proc/1/fd/9: line 11: b', '\n\nbash: line 10: a\nbash: line 11: b'],
];

for (const [given, expected] of cases) {
  test(`${JSON.stringify(given)} reads ${JSON.stringify(expected)}, however it is cut`, () => {
    for (let size = 1; size <= given.length + 1; size++) assert.equal(rewritten(given, [size]), expected);
  });
}

test('other bytes pass unchanged', () => {
  const line = fc.constantFrom('/proc/1/', 'fd/9: li', '\n', '/', 'x', '/proc/2/fd/3: line 4', ' ');
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (parts, sizes) => {
      const text = parts.join('');
      const expected = text.replaceAll(/^\/proc\/1\/fd\/\d{1,7}: line /gm, 'bash: line ');
      assert.equal(rewritten(text, sizes), expected);
    }),
  );
});
