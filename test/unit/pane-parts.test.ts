import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Directories } from '../../src/api/open-terminal/directories.ts';
import { fileField } from '../../src/api/open-terminal/multipart.ts';
import { pack, unpack } from '../../src/api/open-terminal/offsets.ts';
import { replaceAll } from '../../src/api/open-terminal/replace.ts';
import { paneScope } from '../../src/api/open-terminal/scope.ts';

test('an offset tells both positions, as long as a reader is not further behind than what is held', () => {
  const position = fc.integer({ min: 0, max: 2 ** 40 });
  const behind = fc.integer({ min: 0, max: 2 ** 22 });
  fc.assert(
    fc.property(position, position, behind, behind, (out, err, outLag, errLag) => {
      const at = { out: Math.max(0, out - outLag), err: Math.max(0, err - errLag) };
      const offset = pack(at.out, at.err);
      assert.ok(Number.isSafeInteger(offset));
      assert.deepEqual(unpack(offset, { out, err }), at);
    }),
  );
});

test('a field arrives whole, wherever the body is cut', async () => {
  const content = Buffer.from('a\r\n--b\r\n--boundar\r\n\r\n-- end\r\n');
  const head = 'Content-Disposition: form-data; name="file"; filename="dir/%22ä.txt"\r\nContent-Type: text/plain';
  const body = Buffer.concat([
    Buffer.from(`--boundary\r\n${head}\r\n\r\n`),
    content,
    Buffer.from('\r\n--boundary--\r\n'),
  ]);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: body.length }), async (size) => {
      const { name, bytes } = await fileField(cut(body, size), 'multipart/form-data; boundary=boundary');
      assert.equal(name, '"ä.txt');
      const parts: Uint8Array[] = [];
      for await (const part of bytes) parts.push(part);
      assert.deepEqual(Buffer.concat(parts), content);
    }),
    { numRuns: 40 },
  );
});

for (const [what, type, body] of [
  ['no multipart body', 'application/json', '{}'],
  [
    'another field',
    'multipart/form-data; boundary=b',
    '--b\r\nContent-Disposition: form-data; name="x"; filename="y"\r\n\r\n\r\n--b--',
  ],
  [
    'no name',
    'multipart/form-data; boundary=b',
    '--b\r\nContent-Disposition: form-data; name="file"; filename=".."\r\n\r\n\r\n--b--',
  ],
  ['an endless header', 'multipart/form-data; boundary=b', 'x'.repeat(100_000)],
] as const) {
  test(`an upload with ${what} is refused`, async () => {
    await assert.rejects(fileField(cut(Buffer.from(body), 1000), type), { code: 'invalid_argument' });
  });
}

async function* cut(body: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < body.length; at += size) yield body.subarray(at, at + size);
}

test('a replacement keeps to its lines, and takes its text as it is', () => {
  const one = { target: 'a', replacement: '$&$1' };
  assert.equal(replaceAll('a\na\na\n', [{ ...one, start_line: 2, end_line: 2 }]), 'a\n$&$1\na\n');
  assert.throws(() => replaceAll('a a', [one]), /occurs 2 times/);
  assert.throws(() => replaceAll('b', [one]), /is not in the file/);
});

test('a refresh of the file browser does not move the shell', () => {
  const directories = new Directories();
  directories.choose('sb', '/workspace', '/workspace');
  assert.equal(directories.take('sb'), undefined);
  directories.choose('sb', '/workspace', '/workspace/sub');
  assert.equal(directories.take('sb'), undefined);
  directories.choose('sb', '/workspace/other', '/workspace/sub');
  assert.deepEqual([directories.take('sb'), directories.take('sb')], ['/workspace/other', undefined]);
});

test('a context means a conversation, or is refused', () => {
  const chat = '6f0c1e1a-8a55-4b3e-9d0e-0f3b8f6d2c11';
  const settings = { scope: 'auto', conversation_headers: ['X-OpenWebUI-Chat-Id'], conversation_meta: [] } as const;
  assert.deepEqual(paneScope(`chat:${chat}`, settings), { kind: 'conversation', id: chat });
  assert.deepEqual(paneScope('automation:7', settings), { kind: 'conversation', id: 'automation:7' });
  assert.deepEqual(paneScope(undefined, settings), { kind: 'default' });
  for (const context of ['chat:temporary:1', 'chat:channel:1', 'chat:../x'])
    assert.throws(() => paneScope(context, settings), { code: 'conflict' });
  assert.throws(() => paneScope('other:1', settings), { code: 'invalid_argument' });
});
