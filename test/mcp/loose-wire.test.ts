import { connect } from 'node:net';
import { once } from 'node:events';
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { initialize, modernCall, modernHeaders, openSession, post, request } from '../support/raw.ts';
import { startServer } from '../support/server.ts';

const call = () => request('tools/call', { name: 'get_working_directory', arguments: {} });

for (const [accept, type] of [
  ['*/*', 'text/event-stream'],
  ['application/*, text/*', 'text/event-stream'],
  ['application/json', 'application/json'],
  ['application/json, text/event-stream;q=0', 'application/json'],
  ['text/event-stream', 'text/event-stream'],
] as const)
  test(`a session that accepts ${accept} is answered in ${type}`, async () => {
    await using server = await startServer();
    const opened = await post(server.mcp, initialize(), { accept });
    assert.equal(opened.status, 200, opened.text);
    assert.match(opened.headers.get('content-type')!, new RegExp(`^${type}`));
    const session = await openSession(server);
    const answer = await session.post(call(), { accept });
    assert.match(answer.headers.get('content-type')!, new RegExp(`^${type}`));
    assert.equal(answer.messages.at(-1)?.result?.isError ?? false, false, answer.text);
  });

test('a client that accepts neither form is refused', async () => {
  await using server = await startServer();
  assert.equal((await post(server.mcp, initialize(), { accept: 'text/html' })).status, 406);
});

for (const [accept, type] of [
  ['text/event-stream', 'text/event-stream'],
  ['application/json', 'application/json'],
  ['*/*', 'application/json'],
] as const)
  test(`2026-07-28 with Accept: ${accept} is answered in ${type}`, async () => {
    await using server = await startServer();
    const name = 'get_working_directory';
    const answer = await post(server.mcp, modernCall(name), { ...modernHeaders(name), accept });
    assert.equal(answer.status, 200, answer.text);
    assert.match(answer.headers.get('content-type')!, new RegExp(`^${type}`));
    assert.ok(answer.messages.at(-1)?.result, answer.text);
  });

for (const params of [null, [], { _meta: null }, { cursor: null }, { cursor: null, _meta: null }])
  test(`tools/list takes params ${JSON.stringify(params)}`, async () => {
    await using server = await startServer();
    const session = await openSession(server);
    const answer = await session.post({ jsonrpc: '2.0', id: 7, method: 'tools/list', params });
    assert.ok(Array.isArray(answer.messages.at(-1)?.result?.['tools']), answer.text);
  });

test('/mcp/ is the same route, with a key as without', async () => {
  await using server = await startServer({ config: { auth: { mode: 'keys', keys: 'ann=ann-key-0123456789' } } });
  const slash = `${server.mcp}/`;
  assert.equal((await post(slash, initialize(), { authorization: 'Bearer ann-key-0123456789' })).status, 200);
  const denied = await post(slash, initialize());
  assert.equal(denied.status, 401);
  assert.equal(denied.messages[0]?.error?.code, -32001);
});

test('Connection: close is honoured, on a stream too', async () => {
  await using server = await startServer();
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  const body = JSON.stringify(initialize());
  const head = [
    'POST /mcp HTTP/1.1',
    'Host: localhost',
    'Connection: close',
    'Content-Type: application/json',
    'Accept: application/json, text/event-stream',
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk) => (text += chunk));
  socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
  await once(socket, 'end', { signal: AbortSignal.timeout(5000) });
  assert.match(text, /^HTTP\/1\.1 200/);
  assert.match(text, /\r\nconnection: close\r\n/i);
});
