import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readJson } from '../../src/api/http/body.ts';

function requestOf(...pieces: (string | number)[]): Request {
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const piece = pieces.shift();
      if (piece === undefined) return controller.close();
      if (typeof piece === 'number') await sleep(piece, undefined, { ref: false });
      controller.enqueue(encoder.encode(typeof piece === 'string' ? piece : ' '));
    },
  });
  return new Request('http://localhost/mcp', { method: 'POST', body, duplex: 'half' } as RequestInit);
}

const pace = { grace: 50, bytesPerMs: 1 };

test('a body comes together from pieces, even through the middle of a character', async () => {
  const bytes = new TextEncoder().encode('{"a":"é"}');
  const body = new Blob([bytes.slice(0, 7), bytes.slice(7)]).stream();
  const request = new Request('http://localhost', { method: 'POST', body, duplex: 'half' } as RequestInit);
  assert.deepEqual(await readJson(request, 100), { a: 'é' });
});

for (const [what, bytes] of Object.entries({
  'a byte of Latin-1': Buffer.from('{"a":"caf\xe9"}', 'latin1'),
  'half a character at the end': Buffer.from('"\xc3', 'latin1'),
  'UTF-16': Buffer.from('{"a":"b"}\xff', 'utf16le'),
}))
  test(`${what} is refused, not replaced`, async () => {
    const request = new Request('http://localhost', { method: 'POST', body: bytes });
    await assert.rejects(readJson(request, 100), {
      code: 'invalid_argument',
      message: 'The JSON body must be UTF-8; bytes came that are not.',
    });
  });

test('what is no JSON is undefined', async () => {
  assert.equal(await readJson(requestOf('{'), 100), undefined);
  assert.equal(await readJson(new Request('http://localhost', { method: 'POST' }), 100), undefined);
});

test('one byte too many is too large', async () => {
  assert.equal(await readJson(requestOf('"45678', '9"'), 8), '456789');
  await assert.rejects(readJson(requestOf('"45678', '90"'), 8), { code: 'too_large' });
});

test('a body that stalls is given up', async () => {
  await assert.rejects(readJson(requestOf('{', 60_000), 100, pace), {
    code: 'timeout',
    message: 'The request body came too slowly and was given up.',
  });
});

test('a body that drips is given up, too, however often a byte comes', async () => {
  const drips = Array.from({ length: 1000 }, () => 5);
  await assert.rejects(readJson(requestOf(...drips), 10_000, { grace: 50, bytesPerMs: 1 }), { code: 'timeout' });
});

test('64 levels are deep enough and 65 too deep; brackets in strings are none', async () => {
  const nested = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`;
  assert.ok(await readJson(requestOf(nested(64)), 1000));
  await assert.rejects(readJson(requestOf(nested(65)), 1000), /nested deeper than 64 levels/);
  assert.equal(await readJson(requestOf(`"\\"${'['.repeat(100)}"`), 1000), `"${'['.repeat(100)}`);
  for (const escapes of ['\\\\', '\\\\\\\\', '\\"\\\\', ''])
    await assert.rejects(readJson(requestOf(`["${escapes}",${nested(64)}]`), 1000), /nested deeper than 64 levels/);
  const inside = `"${'['.repeat(100)}\\\\\\"${'['.repeat(100)}"`;
  assert.equal(await readJson(requestOf(inside), 1000), JSON.parse(inside));
});
