import { test } from 'node:test';
import assert from 'node:assert/strict';
import { initialize, modernCall, modernHeaders, openSession, post, request, until } from '../support/raw.ts';
import { startServer } from '../support/server.ts';

const keys = { auth: { mode: 'keys', keys: 'ann=ann-key-0123456789,ben=ben-key-0123456789' } };
const ann = { authorization: 'Bearer ann-key-0123456789' };
const ben = { authorization: 'Bearer ben-key-0123456789' };

test('initialize and tools/list touch no sandbox', async () => {
  await using server = await startServer();
  const session = await openSession(server);
  const listed = await session.post(request('tools/list'));
  assert.equal(listed.status, 200);
  assert.deepEqual(server.sandboxes.calls, []);
});

for (const version of ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'])
  test(`initialize agrees on ${version}`, async () => {
    await using server = await startServer();
    const { messages } = await post(server.mcp, initialize(version));
    assert.equal(messages[0]?.result?.['protocolVersion'], version);
  });

test('initialize with a version of the other era gets one of its own', async () => {
  await using server = await startServer();
  const { messages } = await post(server.mcp, initialize('2026-07-28'));
  assert.equal(messages[0]?.result?.['protocolVersion'], '2025-11-25');
});

for (const [params, message] of [
  [{ protocolVersion: 5 }, '`protocolVersion` must be a string, got 5.'],
  [{ protocolVersion: null }, '`protocolVersion` is required by initialize: expected a string, got nothing.'],
  [{}, '`protocolVersion` is required by initialize: expected a string, got nothing.'],
  [
    { protocolVersion: '2025-11-25', capabilities: {} },
    '`clientInfo` is required by initialize: expected an object, got nothing.',
  ],
] as const)
  test(`initialize with ${JSON.stringify(params)} is told what is wrong`, async () => {
    await using server = await startServer();
    const { status, messages } = await post(server.mcp, { ...initialize(), id: 'first', params });
    assert.equal(status, 400);
    assert.deepEqual(messages, [{ jsonrpc: '2.0', id: 'first', error: { code: -32602, message } }]);
  });

for (const [method, version, allow] of [
  ['PUT', undefined, 'GET, POST, DELETE'],
  ['PATCH', '2025-11-25', 'GET, POST, DELETE'],
  ['OPTIONS', undefined, 'GET, POST, DELETE'],
  ['GET', '2026-07-28', 'POST'],
  ['DELETE', '2026-07-28', 'POST'],
] as const)
  test(`${method} /mcp of ${version ?? 'any version'} is 405 and says what is allowed`, async () => {
    await using server = await startServer();
    const headers = { accept: 'text/event-stream', ...(version && { 'mcp-protocol-version': version }) };
    const answer = await fetch(server.mcp, { method, headers });
    assert.equal(answer.status, 405);
    assert.equal(answer.headers.get('allow'), allow);
    const { error } = (await answer.json()) as { error: { message: string } };
    const where = allow === 'POST' ? '/mcp in 2026-07-28' : '/mcp';
    assert.equal(error.message, `${method} is not a method of ${where}; it takes ${allow}.`);
  });

test('a request without a session is 400, an unknown one 404, and a foreign one the same 404', async () => {
  await using server = await startServer({ config: keys });
  const session = await openSession(server, ann);
  const missing = await post(server.mcp, request('tools/list'), ann);
  const unknown = await post(server.mcp, request('tools/list'), { ...ann, 'mcp-session-id': 'nobody' });
  const foreign = await post(server.mcp, request('tools/list'), { ...ben, 'mcp-session-id': session.id });
  assert.equal(missing.status, 400);
  assert.deepEqual([unknown.status, foreign.status], [404, 404]);
  assert.equal(foreign.text, unknown.text);
  assert.equal(
    (await fetch(server.mcp, { method: 'DELETE', headers: { ...ben, 'mcp-session-id': session.id } })).status,
    404,
  );
  assert.equal((await session.post(request('tools/list'))).status, 200);
});

test('the sandbox of a session is its own, and DELETE ends both', async () => {
  await using server = await startServer();
  const one = await openSession(server);
  const two = await openSession(server);
  await one.call('execute_command', { command: 'cd /tmp' });
  const there = await two.call('get_working_directory');
  assert.equal(there.result?.structuredContent?.['cwd'], '/workspace');
  assert.equal((await one.delete()).status, 200);
  assert.equal((await one.post(request('tools/list'))).status, 404);
  await until(() => server.sandboxes.calls.includes(`detach anonymous session:${one.id}`), 'detach');
  assert.equal((await two.post(request('tools/list'))).status, 200);
});

test('DELETE and GET may announce a JSON body and have none', async () => {
  await using server = await startServer();
  const session = await openSession(server);
  const headers = { ...session.headers, 'content-type': 'application/json', accept: 'text/event-stream' };
  const stream = await fetch(server.mcp, { headers });
  assert.equal(stream.status, 200);
  assert.equal(stream.headers.get('content-type'), 'text/event-stream');
  assert.equal((await fetch(server.mcp, { method: 'DELETE', headers })).status, 200);
  assert.equal(await stream.text(), '');
});

test('the GET stream is held open with comments', async () => {
  await using server = await startServer({ config: { server: { keepalive: 1 } } });
  const session = await openSession(server);
  const stream = await fetch(server.mcp, { headers: { ...session.headers, accept: 'text/event-stream' } });
  const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader();
  assert.equal((await reader.read()).value, ': keepalive\n\n');
  await reader.cancel();
});

test('a silent tools/call is answered by a stream with comments, in both eras', async () => {
  await using server = await startServer({ config: { server: { keepalive: 1 } } });
  const session = await openSession(server);
  const params = { name: 'execute_command', arguments: { command: 'sleep 1.2; echo done' } };
  const [old, modern] = await Promise.all([
    session.post(request('tools/call', params)),
    post(server.mcp, modernCall(params.name, params.arguments), modernHeaders(params.name)),
  ]);
  for (const answer of [old, modern]) {
    assert.match(answer.text, /^: keepalive\n\nevent: message\ndata: /);
    assert.equal(answer.messages.at(-1)?.result?.structuredContent?.['stdout'], 'done\n');
  }
});

test('idle sessions are forgotten after their ttl; a stream keeps nothing but its own session', async () => {
  await using server = await startServer({ config: { session: { ttl: 1 } } });
  const session = await openSession(server);
  await until(() => server.app.sessions() === 0, 'the session to be forgotten');
  assert.equal((await session.post(request('tools/list'))).status, 404);
});

test('a call in flight keeps its session beyond the ttl', async () => {
  await using server = await startServer({ config: { session: { ttl: 1 } } });
  const session = await openSession(server);
  const answer = await session.call('execute_command', { command: 'sleep 2.5; echo kept' });
  assert.equal(answer.result?.structuredContent?.['stdout'], 'kept\n');
});

test('when sessions are full the longest idle one of who holds most makes room', async () => {
  await using server = await startServer({ config: { ...keys, session: { max_mcp_sessions: 3 } } });
  const other = await openSession(server, ben);
  const first = await openSession(server, ann);
  const second = await openSession(server, ann);
  const third = await openSession(server, ann);
  assert.equal((await first.post(request('tools/list'))).status, 404);
  for (const session of [other, second, third]) assert.equal((await session.post(request('tools/list'))).status, 200);
});

test('two sessions of one conversation share a sandbox; two principals never do', async () => {
  await using server = await startServer({ config: keys });
  const chat = { 'x-librechat-conversation-id': 'chat-1' };
  const one = await openSession(server, { ...ann, ...chat });
  await one.call('execute_command', { command: 'cd /tmp' });
  await one.delete();
  const two = await openSession(server, { ...ann, ...chat });
  const foreign = await openSession(server, { ...ben, ...chat });
  const cwd = async (session: typeof one) =>
    (await session.call('get_working_directory')).result?.structuredContent?.['cwd'];
  assert.equal(await cwd(two), '/tmp');
  assert.equal(await cwd(foreign), '/workspace');
});

test('a handle wins over every hint, and a foreign one is as unknown as any', async () => {
  await using server = await startServer({ config: keys });
  const mine = await openSession(server, { ...ann, 'x-librechat-conversation-id': 'chat-1' });
  const made = await mine.call('create_sandbox');
  const sandbox = made.result?.structuredContent?.['sandbox'];
  await mine.call('execute_command', { command: 'cd /tmp', sandbox });
  assert.equal((await mine.call('get_working_directory', { sandbox })).result?.structuredContent?.['cwd'], '/tmp');
  assert.equal((await mine.call('get_working_directory')).result?.structuredContent?.['cwd'], '/workspace');
  const foreign = await openSession(server, ben);
  const denied = await foreign.call('end_sandbox', { sandbox });
  const unknown = await foreign.call('end_sandbox', { sandbox: 'sb-fake-none' });
  assert.equal(denied.result?.isError, true);
  assert.deepEqual(denied.result, unknown.result);
  assert.equal(denied.result?.structuredContent?.['code'], 'not_found');
});

test('_meta names the conversation as a header does', async () => {
  await using server = await startServer();
  const body = modernCall('execute_command', { command: 'pwd' }, { 'vscode.conversationId': 'talk 7/ä' });
  await post(server.mcp, body, modernHeaders('execute_command'));
  await post(server.mcp, modernCall('execute_command', { command: 'pwd' }), modernHeaders('execute_command'));
  const hashed = 'acquire anonymous conversation:~7fb8f1b38d7b5d1ccdc3b1dbd34b7d7a8bb33e0f45d4a1eb8a8d9be0a4d4d1b0';
  assert.equal(server.sandboxes.calls[0]?.length, hashed.length);
  assert.match(server.sandboxes.calls[0] ?? '', /^acquire anonymous conversation:~[0-9a-f]{64}$/);
  assert.equal(server.sandboxes.calls[1], 'acquire anonymous default');
});

test('a batch of the 2025-03-26 revision is answered whole', async () => {
  await using server = await startServer();
  const session = await openSession(server);
  const { messages } = await session.post([request('ping'), request('tools/list')], {
    'mcp-protocol-version': '2025-03-26',
  });
  assert.equal(messages.length, 2);
});
