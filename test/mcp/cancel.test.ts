import { test } from 'node:test';
import assert from 'node:assert/strict';
import { modernCall, modernHeaders, openSession, post, request, until } from '../support/raw.ts';
import { startServer, type TestServer } from '../support/server.ts';

const anonymous = { id: 'anonymous' };
const chat = { 'x-librechat-conversation-id': 'chat' };
const brief = { timeout: 20_000 };
const quick = { name: 'execute_command', arguments: { command: 'sleep 1' } };
const slow = { name: 'execute_command', arguments: { command: 'sleep 30' } };

const interrupted = (server: TestServer) =>
  server.sandboxes.workspaceOf({ principal: anonymous, scope: { kind: 'conversation', id: 'chat' } }).shell.interrupted;

async function started(server: TestServer): Promise<void> {
  await until(() => server.sandboxes.leases === 1, 'the call to hold its sandbox');
}

async function settled(server: TestServer): Promise<void> {
  await until(() => server.sandboxes.leases === 0, 'the call to give its sandbox back');
}

const cancellation = (requestId: number) => ({
  jsonrpc: '2.0',
  method: 'notifications/cancelled',
  params: { requestId, reason: 'enough' },
});

test('2025: notifications/cancelled interrupts the call, and its stream ends without an answer', brief, async () => {
  await using server = await startServer();
  const session = await openSession(server, chat);
  const call = request('tools/call', slow);
  const pending = session.post(call);
  await started(server);
  await session.post(cancellation(call.id));
  await settled(server);
  assert.deepEqual(interrupted(server), ['sleep 30']);
  const { status, messages } = await pending;
  assert.deepEqual({ status, messages }, { status: 200, messages: [] });
});

test('2025: what was cancelled of a batch holds nobody’s answer, and its id can be used again', brief, async () => {
  await using server = await startServer();
  const session = await openSession(server, chat);
  const [long, short] = [request('tools/call', slow), request('tools/call', quick)];
  for (const cancelled of [[long], [short, long]]) {
    const pending = session.post([long, short]);
    await until(() => server.sandboxes.leases === 2, 'both calls to hold their sandbox');
    for (const { id } of cancelled) await session.post(cancellation(id));
    const answered = (await pending).messages.map(({ id }) => id);
    assert.deepEqual(answered, cancelled.length === 2 ? [] : [short.id]);
    await settled(server);
    const again = await session.post({ ...request('ping'), id: long.id });
    assert.deepEqual(
      again.messages.map(({ id }) => id),
      [long.id],
    );
  }
});

test('2025: a second request with the id of one in flight is refused, and the first is answered', brief, async () => {
  await using server = await startServer();
  const session = await openSession(server, chat);
  const call = request('tools/call', { name: 'execute_command', arguments: { command: 'sleep 1; echo first' } });
  const first = session.post(call);
  await started(server);
  for (const body of [call, [request('ping'), { ...request('ping'), id: call.id }]]) {
    const answer = await session.post(body);
    assert.equal(answer.status, 400);
    const message = `A request with the id ${call.id} is being answered; each needs an id of its own.`;
    assert.deepEqual(answer.messages, [{ jsonrpc: '2.0', id: null, error: { code: -32600, message } }]);
  }
  assert.equal((await session.post(request('ping'))).status, 200);
  assert.equal((await first).messages[0]?.result?.structuredContent?.['stdout'], 'first\n');
  assert.equal((await session.post({ ...request('ping'), id: call.id })).status, 200);
});

test('2025: a request that was refused leaves its id free', async () => {
  await using server = await startServer();
  const session = await openSession(server, chat);
  const ping = request('ping');
  assert.equal((await session.post(ping, { 'mcp-protocol-version': '1999-01-01' })).status, 400);
  assert.equal((await session.post(ping)).status, 200);
});

test('2025: a dropped connection interrupts nothing; DELETE does, and keeps the conversation’s sandbox', async () => {
  await using server = await startServer();
  const session = await openSession(server, chat);
  const connection = new AbortController();
  const pending = session.post(request('tools/call', slow), {}, connection.signal).catch(() => undefined);
  await started(server);
  connection.abort();
  await pending;
  await until(() => server.logged.some((line) => line['aborted'] === true), 'the drop to be seen');
  assert.equal(server.sandboxes.leases, 1);
  assert.equal((await session.delete()).status, 200);
  await settled(server);
  assert.deepEqual(interrupted(server), ['sleep 30']);
});

test('2026: a dropped connection interrupts the call', async () => {
  await using server = await startServer();
  const connection = new AbortController();
  const headers = { ...modernHeaders('execute_command'), ...chat };
  const pending = post(server.mcp, modernCall(slow.name, slow.arguments), headers, connection.signal).catch(
    () => undefined,
  );
  await started(server);
  connection.abort();
  await pending;
  await settled(server);
  assert.deepEqual(interrupted(server), ['sleep 30']);
});

test('2026: a connection dropped while the answer streams interrupts the call', async () => {
  await using server = await startServer({ config: { server: { keepalive: 1 } } });
  const connection = new AbortController();
  const headers = {
    ...modernHeaders('execute_command'),
    ...chat,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
  };
  const body = JSON.stringify(modernCall(slow.name, slow.arguments));
  const response = await fetch(server.mcp, { method: 'POST', headers, body, signal: connection.signal });
  assert.equal(response.headers.get('content-type'), 'text/event-stream');
  connection.abort();
  await settled(server);
  assert.deepEqual(interrupted(server), ['sleep 30']);
});

test('progress comes where a token came, and nowhere else', async () => {
  await using server = await startServer();
  const session = await openSession(server);
  const params = { name: 'execute_command', arguments: { command: 'echo a line' } };
  const watched = await session.post(request('tools/call', { ...params, _meta: { progressToken: 'tok' } }));
  const silent = await session.post(request('tools/call', params));
  assert.deepEqual(watched.messages[0], {
    jsonrpc: '2.0',
    method: 'notifications/progress',
    params: { progressToken: 'tok', progress: 7, message: 'a line' },
  });
  assert.equal(silent.messages.length, 1);
});

test('draining refuses new calls, and a command that outlasts it is told to go on', async () => {
  await using server = await startServer();
  const session = await openSession(server);
  const pending = session.call('execute_command', { command: 'sleep 30' });
  await started(server);
  server.draining = true;
  const refused = await session.call('get_working_directory');
  assert.equal(refused.result?.structuredContent?.['code'], 'draining');
  const closed = server.close(300);
  const ready = await fetch(`${server.url}/ready`);
  assert.equal(ready.status, 503);
  assert.deepEqual(await ready.json(), { ready: false, reason: 'draining' });
  await closed;
  const told = await pending;
  assert.equal(told.result?.structuredContent?.['status'], 'running');
});

test('draining waits for a transfer and ends a stream that would never end', async () => {
  await using server = await startServer();
  const session = await openSession(server, chat);
  const stream = await fetch(server.mcp, { headers: { ...session.headers, accept: 'text/event-stream' } });
  const created = await session.call('create_sandbox');
  const sandbox = String(created.result?.structuredContent?.['sandbox']);
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const init = { method: 'PUT', body: readable, duplex: 'half' };
  const upload = fetch(`${server.url}/sandboxes/${sandbox}/files/a.txt`, init);
  await writer.write(Buffer.from('first '));
  await started(server);
  server.draining = true;
  const closed = server.close(5000);
  assert.equal(await stream.text(), '');
  await writer.write(Buffer.from('second'));
  await writer.close();
  assert.equal((await upload).status, 201);
  await closed;
});

test('draining lets a call that ends in time end well', async () => {
  await using server = await startServer();
  const session = await openSession(server);
  const pending = session.call('execute_command', { command: 'sleep 0.2; echo done' });
  await started(server);
  server.draining = true;
  await server.close(5000);
  assert.equal((await pending).result?.structuredContent?.['stdout'], 'done\n');
});
