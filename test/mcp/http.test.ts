import { connect } from 'node:net';
import { request as httpRequest } from 'node:http';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { listen } from '../../src/api/http/server.ts';
import { initialize, openSession, post, read, request, until } from '../support/raw.ts';
import { startServer } from '../support/server.ts';

const keys = { auth: { mode: 'keys', keys: 'ann=ann-key-0123456789' } };
const ann = { authorization: 'Bearer ann-key-0123456789' };

/** `fetch` sets Host itself. */
async function withHost(url: string, host: string): Promise<{ status: number; body: string }> {
  const sent = httpRequest(url, { method: 'POST', headers: { host, 'content-type': 'application/json' } });
  sent.end('{}');
  const [response] = await once(sent, 'response');
  return { status: response.statusCode, body: await text(response) };
}

for (const [host, status] of [
  ['localhost:3000', 400],
  ['127.0.0.1', 400],
  ['[::1]:3000', 400],
  ['box.internal:3000', 400],
  ['chat.example.com', 400],
  ['a.example.org', 400],
  ['evil.com', 403],
  ['localhost.evil.com', 403],
  ['box.internal.evil.com', 403],
] as const)
  test(`Host ${host} is answered ${status}`, async () => {
    const allowed_hosts = 'box.internal:3000,*.example.org';
    await using server = await startServer({
      config: { auth: { mode: 'none' }, server: { allowed_hosts, public_url: 'https://chat.example.com/x' } },
    });
    assert.equal((await withHost(server.mcp, host)).status, status);
  });

for (const [origin, status] of [
  ['http://localhost:5173', 200],
  ['http://127.0.0.1:3000', 200],
  ['https://chat.example.com', 200],
  ['https://evil.com', 403],
  ['http://chat.example.com', 403],
  ['null', 403],
  ['http://localhost.evil.com', 403],
] as const)
  test(`Origin ${origin} is answered ${status}`, async () => {
    await using server = await startServer({ config: { server: { allowed_origins: 'https://chat.example.com' } } });
    assert.equal((await post(server.mcp, initialize(), { origin })).status, status);
  });

test('without a valid key everything but health is 401, in the words of its route', async () => {
  await using server = await startServer({ config: keys });
  const denied = await post(server.mcp, initialize(), { authorization: 'Bearer ann-key-0123456780' });
  assert.equal(denied.status, 401);
  assert.equal(denied.headers.get('www-authenticate'), 'Bearer realm="berth"');
  assert.deepEqual(denied.messages[0]?.error, {
    code: -32001,
    message: 'A valid API key is required: send it as "Authorization: Bearer <key>".',
    data: { code: 'unauthorized' },
  });
  const metrics = await fetch(`${server.url}/metrics`);
  assert.equal(metrics.status, 401);
  assert.equal(((await metrics.json()) as { error: { code: string } }).error.code, 'unauthorized');
  assert.equal((await fetch(`${server.url}/health`)).status, 200);
  assert.equal((await post(server.mcp, initialize(), ann)).status, 200);
});

test('no log line holds a key', async () => {
  await using server = await startServer({ config: keys });
  await openSession(server, ann);
  assert.ok(server.logged.length > 0);
  assert.equal(JSON.stringify(server.logged).includes('ann-key'), false);
});

test('a result never shows the caller’s own key', async () => {
  await using server = await startServer({ config: keys });
  const session = await openSession(server, ann);
  const { result } = await session.call('execute_command', { command: 'echo ann-key-0123456789' });
  assert.equal(result?.structuredContent?.['stdout'], '[redacted]\n');
  assert.equal(result?.content?.[0]?.text, '[redacted]\n[exit 0 · 0.05 s · /workspace]');
});

test('a body over the limit is 413, whether it says its length or not', async () => {
  await using server = await startServer({ config: { server: { body_limit: '64KiB' } } });
  const big = JSON.stringify(request('ping', { pad: 'x'.repeat(70_000) }));
  const declared = await post(server.mcp, big);
  assert.equal(declared.status, 413);
  assert.equal(
    declared.messages[0]?.error?.message,
    'The request body is longer than 64.0 KiB; send big files over PUT /sandboxes/{id}/files.',
  );
  const init = {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    duplex: 'half',
    body: new Blob([big]).stream(),
  };
  const chunked = await fetch(server.mcp, init);
  assert.equal(chunked.status, 413);
});

test('deep JSON is refused before it is parsed', async () => {
  await using server = await startServer();
  const deep = `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}}`;
  const answer = await post(server.mcp, deep);
  assert.equal(answer.status, 400);
  assert.equal(answer.messages[0]?.error?.message, 'The JSON body is nested deeper than 64 levels.');
});

test('brackets in strings are no depth', async () => {
  await using server = await startServer();
  const session = await openSession(server);
  const command = `echo ${'[{"\\'.repeat(200)}`;
  assert.equal((await session.call('execute_command', { command })).result?.structuredContent?.['exit_code'], 0);
});

for (const body of ['', 'nonsense', '{"jsonrpc":"2.0"', '[]', '5', 'null', '{"id":1}'])
  test(`the body ${JSON.stringify(body)} is a 400 with a JSON-RPC error`, async () => {
    await using server = await startServer();
    const answer = await post(server.mcp, body);
    assert.equal(answer.status, 400);
    assert.equal(typeof answer.messages[0]?.error?.code, 'number');
  });

test('another media type is 415', async () => {
  await using server = await startServer();
  assert.equal((await post(server.mcp, initialize(), { 'content-type': 'text/plain' })).status, 415);
});

test('a file whose content is not UTF-8 is refused and not written', async () => {
  await using server = await startServer();
  const session = await openSession(server);
  const upload = request('tools/call', { name: 'upload_file', arguments: { path: 'a.txt', content: 'caf\xe9' } });
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const body = Buffer.from(JSON.stringify(upload), 'latin1');
  const answer = await read(
    await fetch(server.mcp, { method: 'POST', headers: { ...headers, ...session.headers }, body }),
  );
  assert.equal(answer.status, 400);
  assert.equal(answer.messages[0]?.error?.message, 'The JSON body must be UTF-8; bytes came that are not.');
  const missing = await session.call('download_file', { path: 'a.txt' });
  assert.equal(missing.result?.structuredContent?.['code'], 'not_found');
});

for (const [headers, status, message] of [
  [{ 'content-type': 'application/json; charset=utf-8' }, 200],
  [{ 'content-type': 'application/json;charset="UTF-8"' }, 200],
  [{ 'content-encoding': 'identity' }, 200],
  [
    { 'content-type': 'application/json; charset=iso-8859-1' },
    415,
    'The charset of a JSON body must be absent or utf-8; got "iso-8859-1".',
  ],
  [{ 'content-encoding': 'gzip' }, 415, 'The Content-Encoding of a JSON body must be absent or identity; got "gzip".'],
] as const)
  test(`a body announced with ${JSON.stringify(headers)} is answered ${status}`, async () => {
    await using server = await startServer();
    const answer = await post(server.mcp, initialize(), headers);
    assert.equal(answer.status, status);
    assert.equal(answer.messages[0]?.error?.message, message);
  });

test('requests over the rate are 429 with the seconds to wait', async () => {
  await using server = await startServer({ config: { limits: { requests_per_minute: 3 } } });
  const answers = [];
  for (let i = 0; i < 4; i++) answers.push(await post(server.mcp, initialize()));
  assert.deepEqual(
    answers.map((answer) => answer.status),
    [200, 200, 200, 429],
  );
  assert.match(answers[3]?.headers.get('retry-after') ?? '', /^\d+$/);
});

test('a tools/call over the rate is told so by its result, since a client may end the chat at another status', async () => {
  await using server = await startServer({ config: { limits: { total_requests_per_minute: 2 } } });
  const session = await openSession(server);
  const { result } = await session.call('execute_command', { command: 'echo' });
  assert.equal(result?.isError, true);
  assert.equal(result?.structuredContent?.['code'], 'busy');
  assert.match(
    String(result?.structuredContent?.['message']),
    /^All clients together sent more than 2 requests in a minute; try again in \d+ s\.$/,
  );
  assert.equal(typeof result?.structuredContent?.['retry_after'], 'number');
  assert.deepEqual(server.sandboxes.calls, []);
});

test('every answer carries the request id, and the log line, too', async () => {
  await using server = await startServer();
  const answer = await post(server.mcp, initialize(), { 'x-request-id': 'req-1' });
  assert.equal(answer.headers.get('x-request-id'), 'req-1');
  await until(() => server.logged.some((line) => line['request_id'] === 'req-1'), 'the log line');
  const line = server.logged.find((entry) => entry['request_id'] === 'req-1' && entry['msg'] === 'request');
  assert.equal(line?.['rpc'], 'initialize');
  assert.equal(line?.['status'], 200);
  const odd = await post(server.mcp, initialize(), { 'x-request-id': 'no spaces here' });
  assert.match(odd.headers.get('x-request-id') ?? '', /^[0-9a-f-]{36}$/);
});

test('health tells version, shell, security, engine and sandboxes', async () => {
  await using server = await startServer();
  const health = await fetch(`${server.url}/health`);
  assert.deepEqual(await health.json(), {
    status: 'ok',
    version: '0.0.0-test',
    shell_alive: true,
    security_enabled: false,
    engine: { name: 'fake', version: '1' },
    sandboxes: { known: 0, running: 0, limit: 100 },
  });
  server.sandboxes.engine = null;
  assert.equal((await fetch(`${server.url}/ready`)).status, 503);
  assert.equal(((await (await fetch(`${server.url}/health`)).json()) as { status: string }).status, 'degraded');
});

test('metrics count requests and tool calls', async () => {
  await using server = await startServer();
  const session = await openSession(server);
  await session.call('execute_command', { command: 'exit 3' });
  await session.call('execute_command', {});
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  assert.match(metrics, /^berth_tool_calls_total\{tool="execute_command",outcome="error"\} 1$/m);
  assert.match(metrics, /^berth_tool_calls_total\{tool="execute_command",outcome="invalid_argument"\} 1$/m);
  assert.match(metrics, /^berth_http_request_duration_seconds_count\{route="\/mcp",method="POST",status="200"\} \d+$/m);
  assert.match(metrics, /^berth_mcp_sessions 1$/m);
  assert.match(metrics, /^berth_sandboxes\{state="running"\} 1$/m);
});

test('an unknown path is one sentence', async () => {
  await using server = await startServer();
  const answer = await fetch(`${server.url}/nothing`);
  assert.equal(answer.status, 404);
  assert.deepEqual(await answer.json(), { error: { code: 'not_found', message: 'There is nothing at /nothing.' } });
});

for (const [method, path, allow] of [
  ['PATCH', '/sandboxes/sb-1/files/a%20b', 'GET, HEAD, PUT, POST, DELETE'],
  ['POST', '/sandboxes/sb-1/terminals/t1', 'GET'],
  ['POST', '/health', 'GET, HEAD'],
  ['POST', '/ready', 'GET, HEAD'],
  ['PUT', '/metrics', 'GET, HEAD'],
] as const)
  test(`${method} ${path} is 405 and says what is allowed`, async () => {
    await using server = await startServer();
    const answer = await fetch(server.url + path, { method });
    assert.equal(answer.status, 405);
    assert.equal(answer.headers.get('allow'), allow);
    const message = `${method} is not a method of ${decodeURI(path)}; it takes ${allow}.`;
    assert.deepEqual(await answer.json(), { error: { code: 'invalid_argument', message } });
  });

test('a port that is taken is one sentence', async () => {
  await using server = await startServer();
  const port = Number(new URL(server.url).port);
  await assert.rejects(listen(server.app, '127.0.0.1', port), {
    code: 'conflict',
    message: `Cannot listen on 127.0.0.1:${port}: another program listens there; stop it or set server.port.`,
  });
});

test('a client that never ends its headers is cut off', { timeout: 20_000 }, async (t) => {
  await using server = await startServer({ headersTimeout: 200 });
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  t.after(() => socket.destroy());
  socket.write('POST /mcp HTTP/1.1\r\nHost: localhost\r\n');
  assert.match(await text(socket), /^HTTP\/1\.1 408 /);
});

test('a caller without a key who never ends his body is answered and cut off', { timeout: 60_000 }, async () => {
  await using server = await startServer({ config: keys });
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  socket.on('error', () => {});
  const head =
    'POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n';
  socket.write(head);
  const drip = setInterval(() => socket.write('1\r\n \r\n'), 20);
  const answer = await text(socket);
  clearInterval(drip);
  assert.match(answer, /^HTTP\/1\.1 401 /);
});

test('an upgrade that is none is a plain request, and one to nowhere is refused', async () => {
  await using server = await startServer();
  const port = Number(new URL(server.url).port);
  const answer = async (upgrade: string, path: string) => {
    const socket = connect(port, '127.0.0.1');
    const key = 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n';
    socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: ${upgrade}\r\n${key}\r\n`);
    const [first] = await once(socket, 'data');
    socket.destroy();
    return String(first).split('\r\n')[0];
  };
  assert.equal(await answer('h2c', '/health'), 'HTTP/1.1 200 OK');
  assert.equal(await answer('websocket', '/nothing'), 'HTTP/1.1 404 Not Found');
});
