import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Links } from '../../src/identity/links.ts';
import { openKeys } from '../../src/identity/key-store.ts';
import { openSession } from '../support/raw.ts';
import { startServer, type TestServer } from '../support/server.ts';

const chat = { 'x-librechat-conversation-id': 'chat' };

async function sandbox(server: TestServer, files: Record<string, string> = {}, headers = chat) {
  const session = await openSession(server, headers);
  for (const [path, content] of Object.entries(files)) await session.call('upload_file', { path, content });
  const url = async (tool: string, args: object) => {
    const { result } = await session.call(tool, args);
    assert.notEqual(result?.isError, true, result?.content?.[0]?.text);
    return String(result?.structuredContent?.['url']);
  };
  return { session, share: (path: string, more = {}) => url('share_file', { path, ...more }), url };
}

test('share_file gives a link in the text, and the link gives the file to whoever has it', async () => {
  await using server = await startServer();
  const { session } = await sandbox(server, { 'notes.txt': 'ab\n' });
  const { result } = await session.call('share_file', { path: 'notes.txt' });
  const text = result?.content?.[0]?.text ?? '';
  const [url = ''] = text.split('\n');
  assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/s\/[^/]+\/[0-9a-z]+-[\w-]{22}\/workspace\/notes\.txt$/);
  assert.match(text, /\n\[\/workspace\/notes\.txt · 3 B · link until 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\]$/);
  const answer = await fetch(url);
  assert.deepEqual([answer.status, await answer.text()], [200, 'ab\n']);
  assert.equal(answer.headers.get('content-type'), 'text/plain; charset=utf-8');
});

const shown: [string, string, RegExp, boolean][] = [
  ['a.png', 'image/png', /^sandbox; default-src 'none'/, true],
  ['a.svg', 'image/svg+xml', /^sandbox; default-src 'none'/, true],
  ['a.PDF', 'application/pdf', /^default-src 'none'; object-src 'self'/, true],
  ['a.html', 'text/html; charset=utf-8', /^sandbox allow-scripts .*connect-src data: blob:/, true],
  ['a.js', 'text/plain; charset=utf-8', /^sandbox; default-src 'none'/, true],
  ['a.csv', 'text/plain; charset=utf-8', /^sandbox/, true],
  ['a.zip', 'application/zip', /^sandbox/, false],
  ['a', 'application/octet-stream', /^sandbox/, false],
];
for (const [name, type, policy, inline] of shown)
  test(`${name} is ${inline ? 'shown' : 'downloaded'}, and runs nothing in this origin`, async () => {
    await using server = await startServer();
    const { share } = await sandbox(server, { [name]: '<script>1</script>' });
    const { headers } = await fetch(await share(name));
    assert.equal(headers.get('content-type'), type);
    assert.match(headers.get('content-security-policy') ?? '', policy);
    assert.doesNotMatch(headers.get('content-security-policy') ?? '', /allow-same-origin/);
    assert.match(
      headers.get('content-disposition') ?? '',
      inline ? /^inline; filename="a/ : /^attachment; filename="a/,
    );
    assert.equal(headers.get('x-content-type-options'), 'nosniff');
    assert.equal(headers.get('cross-origin-resource-policy'), 'cross-origin');
    const download = await fetch(`${await share(name)}?download`);
    assert.match(download.headers.get('content-disposition') ?? '', /^attachment/);
  });

test('a link is good for its file alone: another sandbox, path, kind, time or signature is a 404 that tells nothing', async () => {
  await using server = await startServer();
  const { share, url } = await sandbox(server, { 'a.txt': 'a', 'b.txt': 'b' });
  const other = await sandbox(server, { 'a.txt': 'other' }, { 'x-librechat-conversation-id': 'other' });
  const link = await share('a.txt');
  const stamp = /\/([0-9a-z]+-[\w-]{22})\//;
  const upload = await url('request_upload', {});
  const forged = [
    link.replace('/a.txt', '/b.txt'),
    link.replace('/a.txt', '/'),
    link.replace('/s/', '/u/'),
    link.replace(stamp, (whole) => `/zzzzzz${whole.slice(whole.indexOf('-'))}`),
    (await other.share('a.txt')).replace(stamp, stamp.exec(link)?.[0] ?? ''),
    link.replace(/-[\w-]{22}\//, '-AAAAAAAAAAAAAAAAAAAAAA/'),
    link.replace(/-[\w-]{22}\//, '-/'),
    upload.replace('/u/', '/s/'),
  ];
  for (const wrong of forged) {
    const answer = await fetch(wrong);
    assert.equal(answer.status, 404, wrong);
    assert.deepEqual(await answer.json(), {
      error: { code: 'not_found', message: 'This link does not work: it is incomplete, or what it led to is gone.' },
    });
  }
});

test('an expired link says that it is, and a person gets a page', async () => {
  await using server = await startServer();
  const { share } = await sandbox(server, { 'a.txt': 'a' });
  const handle = /\/s\/([^/]+)\//.exec(await share('a.txt'))?.[1] ?? '';
  const links = new Links(Buffer.alloc(32, 'test'), () => true);
  const old =
    server.url +
    links.path({ kind: 'share', handle, path: '/workspace/a.txt', expires: Math.floor(Date.now() / 1000) - 1 });
  const answer = await fetch(old);
  assert.equal(answer.status, 410);
  assert.equal(
    ((await answer.json()) as { error: { message: string } }).error.message,
    'This link has expired. Ask for a new one in the chat.',
  );
  const page = await fetch(old, { headers: { accept: 'text/html' } });
  assert.match(await page.text(), /<p>This link has expired\. Ask for a new one in the chat\.<\/p>/);
});

test('a link outlives nothing it leads to', async () => {
  await using server = await startServer();
  const { share, session } = await sandbox(server, { 'a.txt': 'a' });
  const link = await share('a.txt');
  await session.call('end_sandbox');
  assert.equal((await fetch(link)).status, 404);
});

test('a link ends with the key it was made with, and only with that one', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-links-'));
  using keys = openKeys(directory);
  const make = () => keys.create({ name: 'ann', scopes: ['tools'], expires: null });
  const [old, current] = [make(), make()];
  await using server = await startServer({ config: { auth: { mode: 'keys' } }, context: { keys } });
  const as = ({ text }: { text: string }) => ({ ...chat, authorization: `Bearer ${text}` });
  const before = await sandbox(server, { 'a.txt': 'a' }, as(old));
  const upload = await before.url('request_upload', {});
  const links = [await before.share('a.txt'), upload];
  const kept = await (await sandbox(server, {}, as(current))).share('a.txt');
  for (const link of [...links, kept]) assert.equal((await fetch(link)).status, 200);
  keys.revoke(old.key.id);
  for (const link of links) assert.equal((await fetch(link)).status, 404);
  assert.equal((await fetch(`${upload}?name=x`, { method: 'PUT', body: 'x' })).status, 404);
  assert.equal((await fetch(links[0]!.replace(`.${old.key.id}`, ''))).status, 404);
  assert.equal((await fetch(links[0]!.replace(old.key.id, current.key.id))).status, 404);
  assert.equal((await fetch(kept)).status, 200);
  rmSync(directory, { recursive: true });
});

for (const [tool, argument, path] of [
  ['share_file', 'path', 'sub/../a'],
  ['request_upload', 'directory', 'in/../box'],
] as const)
  test(`${tool} makes no link that a browser would change`, async () => {
    await using server = await startServer();
    const { session } = await sandbox(server, { 'sub/../a': 'a' });
    const { result } = await session.call(tool, { [argument]: path });
    assert.equal(result?.isError, true);
    const text = result?.content?.[0]?.text ?? '';
    assert.equal(text.split('\n')[0], `${argument}: expected one without "..", got "/workspace/${path}".`);
  });

test('ranges work, as for resuming a download', async () => {
  await using server = await startServer();
  const { share } = await sandbox(server, { 'a.txt': '0123456789' });
  const answer = await fetch(await share('a.txt'), { headers: { range: 'bytes=2-4' } });
  assert.deepEqual(
    [answer.status, answer.headers.get('content-range'), await answer.text()],
    [206, 'bytes 2-4/10', '234'],
  );
});

test('request_upload gives a page, and the page’s address takes files', async () => {
  await using server = await startServer();
  const { session, url } = await sandbox(server);
  const link = await url('request_upload', { directory: 'in box' });
  assert.match(link, /\/u\/[^/]+\/[^/]+\/workspace\/in%20box$/);
  const page = await fetch(link);
  const policy = page.headers.get('content-security-policy') ?? '';
  assert.match(policy, /^default-src 'none'; script-src 'nonce-[^']+'; style-src 'nonce-[^']+'; connect-src 'self'/);
  assert.match(await page.text(), /They go into <code>\/workspace\/in box<\/code>/);
  const put = await fetch(`${link}?name=${encodeURIComponent('data Ä.csv')}`, { method: 'PUT', body: 'a,b\n' });
  assert.deepEqual([put.status, ((await put.json()) as { path: string }).path], [201, '/workspace/in box/data Ä.csv']);
  const { result } = await session.call('download_file', { path: 'in box/data Ä.csv' });
  assert.equal(result?.structuredContent?.['content'], 'a,b\n');
});

test('an upload goes nowhere but into its directory', async () => {
  await using server = await startServer();
  const { url } = await sandbox(server);
  const link = await url('request_upload', { directory: 'inbox' });
  for (const name of ['../x', 'a/b', '..', '.', '', '\0', 'x'.repeat(256)]) {
    const put = await fetch(`${link}?name=${encodeURIComponent(name)}`, { method: 'PUT', body: 'x' });
    assert.equal(put.status, 400, name);
  }
  assert.equal((await fetch(link, { method: 'PUT', body: 'x' })).status, 400);
  const packed = { method: 'PUT', body: 'x', headers: { 'content-encoding': 'gzip' } };
  assert.equal((await fetch(`${link}?name=x`, packed)).status, 400);
  assert.equal((await fetch(link.replace('inbox', 'other') + '?name=x', { method: 'PUT', body: 'x' })).status, 404);
});

test('whoever sends a whole upload before they read sees why it was refused', { timeout: 60_000 }, async () => {
  await using server = await startServer({ config: { server: { upload_limit: 4 } } });
  const { url } = await sandbox(server, {});
  const link = new URL(`${await url('request_upload', {})}?name=x`);
  const answer = await sentWhole(link, new Uint8Array(24 * 1024 * 1024));
  assert.match(answer, /^HTTP\/1\.1 413 /);
  assert.match(answer, /"code":"too_large"/);
});

/** What comes back to a client that looks for an answer only behind its last byte. */
async function sentWhole({ hostname, port, pathname, search }: URL, body: Uint8Array): Promise<string> {
  const socket = connect(Number(port), hostname);
  socket.pause();
  try {
    const head = `PUT ${pathname}${search} HTTP/1.1\r\nhost: ${hostname}:${port}\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n`;
    const signal = AbortSignal.timeout(20_000);
    socket.write(head);
    const sent = once(socket, 'sent', { signal });
    socket.write(body, (error) => (error ? socket.destroy(error) : socket.emit('sent')));
    await sent;
    let text = '';
    socket.on('data', (chunk) => (text += String(chunk)));
    const ended = once(socket, 'end', { signal });
    socket.resume();
    await ended;
    return text;
  } finally {
    socket.destroy();
  }
}

test('an upload that is too long is refused before it is read', async () => {
  await using server = await startServer({ config: { server: { upload_limit: 4 } } });
  const { url } = await sandbox(server);
  const put = await fetch(`${await url('request_upload', {})}?name=x`, { method: 'PUT', body: '12345' });
  assert.equal(put.status, 413);
});

test('links stand on server.public_url, and the log keeps no link that works', async () => {
  await using server = await startServer({
    config: { auth: { mode: 'none' }, server: { public_url: 'https://files.example.com/berth/' } },
  });
  const { share } = await sandbox(server, { 'a.txt': 'a' });
  const link = await share('a.txt');
  assert.match(link, /^https:\/\/files\.example\.com\/berth\/s\//);
  const path = link.slice('https://files.example.com/berth'.length);
  await (await fetch(server.url + path)).text();
  const stamp = path.split('/')[3] ?? '';
  assert.ok(!JSON.stringify(server.logged).includes(stamp));
});
