import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { text } from 'node:stream/consumers';
import { SignJWT } from 'jose';
import { openSession, request, until } from '../support/raw.ts';
import { startServer } from '../support/server.ts';

const secret = 'the-secret-of-open-webui';
const token = await new SignJWT({ id: 'ada' })
  .setProtectedHeader({ alg: 'HS256' })
  .setExpirationTime('5m')
  .sign(new TextEncoder().encode(secret));

const picture = '01234567-89ab-cdef-0123-456789abcdef';
const chat = {
  chat: {
    files: [{ type: 'file', id: 'f1', name: 'data.csv' }],
    history: {
      messages: {
        m1: {
          files: [
            { type: 'file', id: 'f1', name: 'data.csv' },
            { type: 'file', file: { id: 'f2', filename: '../data.csv' } },
            { type: 'image', url: `/api/v1/files/${picture}/content`, name: 'data.csv' },
            { type: 'collection', id: 'c1', name: 'knowledge' },
            { type: 'image', url: 'data:image/png;base64,AAAA' },
          ],
        },
        m2: null,
      },
    },
  },
};

/** Open WebUI's API, as far as it is used; it knows one user by his token. */
async function application() {
  const events: unknown[] = [];
  const http = createServer((asked, response) => {
    void (async () => {
      const body = await text(asked);
      const json = (value: unknown) =>
        response.setHeader('content-type', 'application/json').end(JSON.stringify(value));
      if (asked.headers.authorization !== `Bearer ${token}`) return void response.writeHead(401).end();
      if (asked.url === '/api/v1/chats/chat-1') return void json(chat);
      const [, id] = /^\/api\/v1\/files\/([^/]+)\/content$/.exec(asked.url ?? '') ?? [];
      if (id) return void response.end(`bytes of ${id}`);
      if (asked.url === '/api/v1/chats/chat-1/messages/m3/event') {
        events.push(JSON.parse(body));
        return void json(true);
      }
      const [, status] = /^\/api\/v1\/chats\/status-(\d+)$/.exec(asked.url ?? '') ?? [];
      response.writeHead(Number(status ?? 404)).end();
    })();
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/`;
  return { url, events, [Symbol.dispose]: () => void http.close() };
}

const headers = { authorization: `Bearer ${token}`, 'x-openwebui-chat-id': 'chat-1', 'x-openwebui-message-id': 'm3' };

const settings = (url: string, progress = false) => ({
  config: { open_webui: { session_secret: secret, url, progress } },
});

test('the chat’s attachments come into the sandbox with the user’s own rights', async () => {
  using app = await application();
  await using server = await startServer(settings(app.url));
  const session = await openSession(server, headers);
  const { result } = await session.call('fetch_attachments');
  assert.equal(
    result?.content?.[0]?.text,
    [
      '/workspace/attachments/data.csv  11 B',
      '/workspace/attachments/.._data.csv  11 B',
      `/workspace/attachments/01234567-data.csv  45 B`,
      '[3 files · 3 attached to the chat]',
    ].join('\n'),
  );
  const { result: read } = await session.call('download_file', { path: 'attachments/.._data.csv' });
  assert.match(read?.content?.[0]?.text ?? '', /^bytes of f2\n/);
});

test('only the files that are asked for', async () => {
  using app = await application();
  await using server = await startServer(settings(app.url));
  const { result } = await (await openSession(server, headers)).call('fetch_attachments', { names: ['none'] });
  assert.equal(result?.content?.[0]?.text, '[0 files · 3 attached to the chat]');
});

for (const [chat, sentence, code] of [
  ['../users', 'The chat application does not know that (status 404).', 'not_found'],
  ['status-401', 'The chat application does not let this user have that (status 401).', 'forbidden'],
  ['status-403', 'The chat application does not let this user have that (status 403).', 'forbidden'],
  ['status-429', 'The chat application takes no more requests for now (status 429).', 'busy'],
  ['status-500', 'The chat application failed (status 500).', 'application_unavailable'],
] as const)
  test(`a chat application that answers ${chat} is told as ${code}`, async () => {
    using app = await application();
    await using server = await startServer(settings(app.url));
    const session = await openSession(server, { ...headers, 'x-openwebui-chat-id': chat });
    const told = (await session.call('fetch_attachments')).result?.content?.[0]?.text;
    assert.equal(told, `${sentence}\n[error · ${code}]`);
  });

test('a chat application that is gone is a sentence, and not the engine', async () => {
  await using other = await startServer(settings('http://127.0.0.1:9'));
  const gone = (await (await openSession(other, headers)).call('fetch_attachments')).result?.content?.[0]?.text;
  assert.equal(gone, 'The chat application cannot be reached from here.\n[error · application_unavailable]');
});

test('without open_webui.url there is no such tool; without a user’s token there is a sentence', async () => {
  await using without = await startServer();
  const listed = await (await openSession(without)).post(request('tools/list'));
  assert.ok(!listed.text.includes('fetch_attachments'));
  await using server = await startServer({
    config: { open_webui: { url: 'http://127.0.0.1:9' }, auth: { keys: [{ name: 'a', key: 'k'.repeat(20) }] } },
  });
  const session = await openSession(server, { ...headers, authorization: `Bearer ${'k'.repeat(20)}` });
  assert.match((await session.call('fetch_attachments')).result?.content?.[0]?.text ?? '', /use request_upload\.\n/);
});

test('a long call shows its progress in the chat, where that is switched on', async () => {
  using app = await application();
  await using server = await startServer(settings(app.url, true));
  const session = await openSession(server, headers);
  const quick = await session.call('execute_command', { command: 'echo at once' });
  assert.equal(quick.result?.isError ?? false, false);
  assert.deepEqual(app.events, []);
  await session.call('execute_command', { command: 'sleep 3.2; echo half way; sleep 0.3; echo more' });
  await until(() => app.events.length === 2, 'the end to be shown');
  const line = (done: boolean) => ({ type: 'status', data: { description: 'half way', done, hidden: done } });
  assert.deepEqual(app.events, [line(false), line(true)]);
});
