import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import type { AddressInfo } from 'node:net';
import type { HttpEnv } from '../../src/api/http/env.ts';
import { onError } from '../../src/api/http/errors.ts';
import { filesRoutes } from '../../src/api/http/files.ts';
import { tarHeader } from '../../src/sandbox/files/tar.ts';
import { ann, bob, startFilesServer, type FilesServer } from '../support/files-server.ts';
import { oneSandbox } from '../support/one-sandbox.ts';
import { quiet } from '../support/docker-runtime.ts';
import { eventually, sh } from '../support/run.ts';
import { testConfig } from '../support/server.ts';

const MiB = 1024 ** 2;
const sha256 = (bytes: string | Uint8Array) => createHash('sha256').update(bytes).digest('hex');

describe('files over HTTP', { timeout: 120_000 }, () => {
  let server: FilesServer;
  before(async () => (server = await startFilesServer({ upload_limit: 4 * MiB })));
  after(async () => {
    await eventually(() => server.leases() === 0);
    await server[Symbol.asyncDispose]();
  });

  const call = (path: string, init: RequestInit = {}) =>
    fetch(server.base + path, { ...init, headers: { ...ann, ...(init.headers as Record<string, string>) } });
  const put = (path: string, body: BodyInit, headers: Record<string, string> = {}) =>
    call(path, { method: 'PUT', body, headers, duplex: 'half' } as RequestInit);
  const get = (path: string, headers: Record<string, string> = {}) => call(path, { headers });
  const error = async (response: Response) => ((await response.json()) as { error: Record<string, string> }).error;

  test('PUT makes a file, then replaces it', async () => {
    const made = await put('new/data.csv', 'a,b\n1,2\n');
    assert.equal(made.status, 201);
    const body = { path: `${server.root}/new/data.csv`, size: 8, sha256: sha256('a,b\n1,2\n') };
    assert.deepEqual(await made.json(), body);
    const replaced = await put('new/data.csv', 'a\n');
    assert.equal(replaced.status, 200);
    assert.equal(replaced.headers.get('etag'), (await get('new/data.csv')).headers.get('etag'));
  });

  test('POST moves and makes directories, DELETE removes', async () => {
    const post = (path: string, init: RequestInit = {}) => call(path, { method: 'POST', ...init });
    const remove = (path: string) => call(path, { method: 'DELETE' });
    const made = await post(`${encodeURIComponent('ü n')}/made?make=directory`);
    assert.deepEqual([made.status, await made.json()], [201, { path: `${server.root}/ü n/made` }]);
    await put('moved', 'content');
    const moved = await post(`moved?move_to=${encodeURIComponent('ü n/made/x')}`);
    assert.deepEqual(await moved.json(), { from: `${server.root}/moved`, to: `${server.root}/ü n/made/x` });
    assert.equal(await (await get(encodeURI('ü n/made/x'))).text(), 'content');
    const refusals: [string, string, number, RegExp][] = [
      ['POST', 'ü n/made?make=directory', 409, /is there already/],
      ['POST', 'ü n/made', 400, /needs \?move_to=PATH or \?make=directory/],
      ['POST', 'ü n/made?make=file', 400, /needs \?move_to=PATH/],
      ['POST', 'no?move_to=x', 404, /"no" does not exist/],
      ['POST', 'ü n?move_to=no/x', 400, /would be in does not exist/],
      ['DELETE', 'ü n', 409, /set recursive/],
      ['DELETE', 'ü n?recursive=yes', 400, /recursive must be true or false; got "yes"/],
      ['DELETE', '?recursive=true', 400, /must name/],
    ];
    for (const [method, path, status, message] of refusals) {
      const response = await call(encodeURI(path), { method });
      assert.equal(response.status, status, path);
      assert.match((await error(response))['message'] ?? '', message);
    }
    const removed = await remove(encodeURI('ü n?recursive=true'));
    assert.deepEqual([removed.status, await removed.json()], [200, { path: `${server.root}/ü n`, type: 'directory' }]);
    assert.equal((await get(encodeURI('ü n/made/x'))).status, 404);
    assert.equal((await fetch(`${server.base}moved`, { method: 'DELETE', headers: bob })).status, 404);
  });

  test('GET gives the bytes, and headers that keep a browser from running them', async () => {
    const page = '<script>alert(1)</script>';
    await put('page "1" ü.html', page);
    const response = await get(encodeURIComponent('page "1" ü.html'));
    assert.equal(response.status, 200);
    assert.equal(await response.text(), page);
    const header = (name: string) => response.headers.get(name);
    assert.equal(header('content-length'), '25');
    assert.equal(header('content-type'), 'text/html; charset=utf-8');
    assert.equal(
      header('content-disposition'),
      `attachment; filename="page _1_ _.html"; filename*=UTF-8''page%20%221%22%20%C3%BC.html`,
    );
    assert.equal(header('x-content-type-options'), 'nosniff');
    assert.match(header('content-security-policy')!, /^sandbox; default-src 'none'/);
    assert.equal(header('accept-ranges'), 'bytes');
    assert.ok(Math.abs(Date.parse(header('last-modified')!) - Date.now()) < 60_000);
    assert.match(
      (await get(`${encodeURIComponent('page "1" ü.html')}?inline`)).headers.get('content-disposition')!,
      /^inline;/,
    );
  });

  test('HEAD gives the headers alone', async () => {
    await put('head.bin', randomBytes(1000));
    const response = await call('head.bin', { method: 'HEAD' });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-length'), '1000');
    assert.equal(response.headers.get('content-type'), 'application/octet-stream');
    assert.equal(await response.text(), '');
    assert.equal((await call('no-such', { method: 'HEAD' })).status, 404);
  });

  for (const [range, status, body, contentRange] of [
    ['bytes=0-3', 206, '0123', 'bytes 0-3/10'],
    ['bytes=4-', 206, '456789', 'bytes 4-9/10'],
    ['bytes=-3', 206, '789', 'bytes 7-9/10'],
    ['bytes=-30', 206, '0123456789', 'bytes 0-9/10'],
    ['bytes=8-99', 206, '89', 'bytes 8-9/10'],
    ['bytes=10-', 416, null, 'bytes */10'],
    ['bytes=-0', 416, null, 'bytes */10'],
    ['bytes=5-2', 200, '0123456789', null],
    ['bytes=0-1,4-5', 200, '0123456789', null],
    ['lines=1-2', 200, '0123456789', null],
  ] as const) {
    test(`Range: ${range} is answered ${status}`, async () => {
      await put('digits', '0123456789');
      const response = await get('digits', { range });
      assert.equal(response.status, status);
      assert.equal(response.headers.get('content-range'), contentRange);
      if (body !== null) assert.equal(response.headers.get('content-length'), String(body.length));
      const text = await response.text();
      if (body !== null) assert.equal(text, body);
    });
  }

  test('a version at hand is not sent again, and a part fits only its own version', async () => {
    await put('versioned', 'first');
    const { headers } = await get('versioned');
    const etag = headers.get('etag')!;
    const since = headers.get('last-modified')!;
    assert.equal((await get('versioned', { 'if-none-match': `"x", W/${etag}` })).status, 304);
    assert.equal((await get('versioned', { 'if-modified-since': since })).status, 304);
    assert.equal((await get('versioned', { 'if-range': etag, range: 'bytes=0-0' })).status, 206);
    assert.equal((await put('versioned', 'third', { 'if-match': etag })).status, 200);
    assert.equal((await get('versioned', { 'if-none-match': etag })).status, 200);
    assert.equal((await get('versioned', { 'if-range': etag, range: 'bytes=0-0' })).status, 200);
    const refused = await put('versioned', 'lost', { 'if-match': etag });
    assert.equal(refused.status, 409);
    assert.equal(await (await get('versioned')).text(), 'third');
  });

  for (const [condition, status] of [
    [() => '"deadbeef"', 409],
    [() => '"1-2-3"', 409],
    [(etag: string) => `W/${etag}`, 409],
    [(etag: string) => etag.slice(1, -1), 400],
    [() => '', 400],
    [(etag: string) => `"deadbeef", ${etag}`, 200],
    [() => '*', 200],
  ] as const) {
    test(`If-Match: ${condition('"tag"')} is answered ${status}`, async () => {
      await put('matched', 'first');
      const etag = (await get('matched')).headers.get('etag')!;
      const answer = await put('matched', 'second', { 'if-match': condition(etag) });
      assert.equal(answer.status, status);
      assert.equal(await (await get('matched')).text(), status === 200 ? 'second' : 'first');
    });
  }

  test('If-Match makes no file', async () => {
    for (const tags of ['*', '"1-2-3"', '"deadbeef"'])
      assert.equal((await put('matchless/new', 'x', { 'if-match': tags })).status, 404, tags);
    assert.ok(!(await server.names()).some((name) => name.startsWith('matchless')));
  });

  for (const [name, value] of [
    ['If-None-Match', '*'],
    ['If-Unmodified-Since', 'Sat, 01 Jan 2000 00:00:00 GMT'],
    ['Content-Range', 'bytes 1-1/2'],
  ] as const) {
    test(`${name}, which nothing can hold to, is refused`, async () => {
      await put('kept', 'first');
      const refused = await put('kept', 'second', { [name]: value });
      assert.equal(refused.status, 400);
      assert.equal(
        (await error(refused))['message'],
        `${name} must be absent: this PUT cannot hold to it; got "${value}".`,
      );
      assert.equal(await (await get('kept')).text(), 'first');
    });
  }

  test('modes', async () => {
    await put('run.sh?mode=750', '#!/bin/sh\n');
    assert.equal((await server.files.stat('run.sh')).mode, 0o750);
    const refused = await put('run.sh?mode=rwx', 'x');
    assert.equal(refused.status, 400);
    assert.match((await error(refused))['message']!, /^mode must be three octal digits like 644; got "rwx"\.$/);
  });

  test('a digest that fits is accepted; another keeps nothing', async () => {
    const body = 'digested';
    const base64 = createHash('sha256').update(body).digest('base64');
    assert.equal((await put('d1', body, { 'x-content-sha256': sha256(body) })).status, 201);
    assert.equal((await put('d2', body, { 'content-digest': `sha-256=:${base64}:` })).status, 201);
    const before = await server.names();
    for (const headers of [
      { 'x-content-sha256': sha256('other') },
      { 'x-content-sha256': 'abc' },
      { 'content-digest': `sha-256=:${base64.replace(/^./, (c) => (c === 'A' ? 'B' : 'A'))}:` },
      { 'content-digest': 'sha-256=nonsense' },
    ]) {
      const refused = await put('d3', body, headers);
      assert.equal(refused.status, 400);
      assert.equal((await error(refused))['code'], 'invalid_argument');
    }
    assert.deepEqual(await server.names(), before);
  });

  test('bodies of unknown length, and none', async () => {
    const chunks = new Blob(['one', 'two']).stream();
    assert.equal((await put('chunked', chunks)).status, 201);
    assert.equal(await (await get('chunked')).text(), 'onetwo');
    const bare = httpRequest(`${server.base}none`, { method: 'PUT', headers: ann });
    bare.removeHeader('transfer-encoding');
    bare.useChunkedEncodingByDefault = false;
    bare.end();
    const [response] = (await once(bare, 'response')) as [IncomingMessage];
    response.resume();
    assert.equal(response.statusCode, 411);
    assert.equal((await put('empty', '')).status, 201);
    assert.equal(await (await get('empty')).text(), '');
  });

  test('more than the limit is 413, announced or not', async () => {
    const before = await server.names();
    const large = Buffer.alloc(5 * MiB);
    assert.equal((await put('large', large)).status, 413);
    assert.equal((await put('large', new Blob([large]).stream())).status, 413);
    const tar = { 'content-type': 'application/x-tar' };
    assert.equal((await put('large', new Blob([large]).stream(), tar)).status, 413);
    assert.deepEqual(await server.names(), before);
  });

  test('forms and encoded bodies are refused', async () => {
    const form = new FormData();
    form.set('file', 'x');
    const refused = await put('form', form);
    assert.equal(refused.status, 400);
    assert.equal((await error(refused))['message'], 'The body must be the file itself; a form came.');
    assert.equal((await put('gz', 'x', { 'content-encoding': 'gzip' })).status, 400);
    assert.equal((await put('gz', 'x', { 'content-encoding': 'Identity' })).status, 201);
  });

  test('a directory is a tar or a list', async () => {
    await put('tree/a.txt', 'a');
    await put('tree/sub/b.txt', 'bb');
    const tar = await get('tree', { accept: 'application/x-tar' });
    assert.equal(tar.headers.get('content-type'), 'application/x-tar');
    assert.match(tar.headers.get('content-disposition')!, /^attachment; filename="tree\.tar"/);
    const back = await put('copy', await tar.arrayBuffer(), { 'content-type': 'application/x-tar' });
    assert.deepEqual(await back.json(), { path: 'copy', files: 2, bytes: 3 });
    assert.equal(await (await get('copy/sub/b.txt')).text(), 'bb');
    const list = (await (await get('tree?glob=*.txt&depth=3')).json()) as { entries: { path: string }[] };
    assert.deepEqual(
      list.entries.map(({ path }) => path),
      ['a.txt', 'sub/b.txt'],
    );
    assert.equal((await get('tree', { accept: 'text/html' })).status, 406);
    assert.equal((await call('tree', { method: 'HEAD', headers: { accept: 'application/x-tar' } })).status, 200);
    assert.equal((await get('', { accept: 'application/json' })).status, 200);
  });

  test('paths', async () => {
    await put('deep/er/f', 'x');
    assert.equal(await (await get('deep//er/./f')).text(), 'x');
    assert.equal((await get('%2Fetc%2Fhostname')).status, 200);
    assert.equal((await get('%ff')).status, 400);
    assert.equal((await get('%00')).status, 400);
    assert.equal((await put('dir/', 'x')).status, 400);
    assert.equal((await put('deep', 'x')).status, 409);
    const missing = await get('no/such');
    assert.equal(missing.status, 404);
    assert.deepEqual(await error(missing), { code: 'not_found', message: '"no/such" does not exist.', reason: 'tool' });
  });

  test('another’s sandbox and none at all are answered alike; no key is 401', async () => {
    await put('secret', 'x');
    const foreign = await fetch(`${server.base}secret`, { headers: bob });
    const unknown = await fetch(`${server.url}/sandboxes/sb-9/files/secret`, { headers: ann });
    assert.equal(foreign.status, 404);
    assert.equal(unknown.status, 404);
    assert.equal(await foreign.text(), await unknown.text());
    assert.equal((await fetch(`${server.base}secret`)).status, 401);
    assert.equal((await fetch(`${server.base}secret`, { method: 'PUT', body: 'x', headers: bob })).status, 404);
  });

  test('a client that goes during its upload leaves nothing', async () => {
    const before = await server.names();
    const part = randomBytes(MiB);
    const tar = tarHeader({ name: 'f', type: 'file', size: 2 * MiB, mode: 0o644, mtime: 0 });
    for (const [headers, body] of [
      [{ 'content-length': String(2 * MiB) }, part],
      [{}, part],
      [{ 'content-type': 'application/x-tar' }, Buffer.concat([tar, part])],
    ] as const) {
      const upload = httpRequest(`${server.base}gone/f`, { method: 'PUT', headers: { ...ann, ...headers } });
      upload.on('error', () => {});
      upload.write(body);
      await eventually(() => server.leases() === 1);
      await sleep(100);
      upload.destroy();
      await eventually(async () => server.leases() === 0 && String(await server.names()) === String(before));
    }
  });

  test('a client that goes during its download stops what feeds it', async () => {
    await sh(server.container, `head -c ${64 * MiB} /dev/zero > '${server.root}/stream'`);
    const download = httpRequest(`${server.base}stream`, { headers: ann }).end();
    const [response] = (await once(download, 'response')) as [IncomingMessage];
    await once(response, 'readable');
    assert.equal(server.leases(), 1);
    response.destroy();
    await eventually(() => server.leases() === 0);
    await eventually(
      async () => !(await sh(server.container, 'ps axww -o args')).includes(`berth ${server.root}/stream`),
    );
  });
});

/** The routes alone over one sandbox, for a transfer that may stand still for so many milliseconds. */
async function withPatience(real: FilesServer, patience: number) {
  const sandboxes = oneSandbox({ handle: 'sb-1', files: real.files });
  const app = new Hono<HttpEnv>();
  app.onError(onError);
  app.use(async (c, next) => {
    c.set('principal', { id: 'anonymous' });
    c.set('log', quiet);
    c.set('line', {});
    await next();
  });
  app.route('/', filesRoutes({ sandboxes, config: testConfig(), patience }));
  const server = createAdaptorServer({ fetch: app.fetch }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/sandboxes/sb-1/files`;
  return { url, sandboxes, [Symbol.dispose]: () => void server.close() };
}

test('a client that takes a little at a time gets the whole file', { timeout: 60_000 }, async () => {
  await using real = await startFilesServer();
  await sh(real.container, `head -c ${16 * MiB} /dev/zero > '${real.root}/stream'`);
  using server = await withPatience(real, 400);
  const download = httpRequest(`${server.url}/stream`).end();
  const [response] = (await once(download, 'response')) as [IncomingMessage];
  let size = 0;
  // The pause is the case: the kernel holds megabytes, for which such a client needs longer than the patience.
  for await (const chunk of response) {
    size += (chunk as Uint8Array).length;
    await sleep(20);
  }
  assert.equal(size, 16 * MiB);
});

test('a transfer that stands still is ended, in both directions', { timeout: 60_000 }, async () => {
  await using real = await startFilesServer();
  await sh(real.container, `head -c ${64 * MiB} /dev/zero > '${real.root}/stream'`);
  using server = await withPatience(real, 300);
  const { url, sandboxes } = server;
  const upload = httpRequest(`${url}/f`, { method: 'PUT' });
  upload.on('error', () => {});
  upload.write('beginning');
  const [refused] = (await once(upload, 'response')) as [IncomingMessage];
  assert.equal(refused.statusCode, 504);
  upload.destroy();
  const download = httpRequest(`${url}/stream`).end();
  const [response] = (await once(download, 'response')) as [IncomingMessage];
  response.on('error', () => {});
  await eventually(() => sandboxes.leases === 0);
  await assert.rejects(async () => {
    for await (const chunk of response) void chunk;
  });
  assert.deepEqual(await real.names(), ['stream']);
});
