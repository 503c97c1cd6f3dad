import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { WebSocket } from 'ws';
import { openKeys, type KeyStore, type NewKey } from '../../src/identity/key-store.ts';
import type { TerminalsPort, TerminalWatch } from '../../src/sandbox/ports/workspace.ts';
import { oneSandbox } from '../support/one-sandbox.ts';
import { openSession, request, until } from '../support/raw.ts';
import { startServer, type TestServer } from '../support/server.ts';

function store(t: TestContext): KeyStore {
  const path = mkdtempSync(join(tmpdir(), 'berth-keys-'));
  const keys = openKeys(path);
  t.after(() => {
    keys[Symbol.dispose]();
    rmSync(path, { recursive: true });
  });
  return keys;
}

const serve = (keys: KeyStore) => startServer({ config: { auth: { mode: 'keys' } }, context: { keys } });

const bearer = (text: string) => ({ authorization: `Bearer ${text}` });

function keyWith(keys: KeyStore, key: Partial<NewKey>): Record<string, string> {
  return bearer(keys.create({ name: 'ann', scopes: ['tools'], expires: null, ...key }).text);
}

const statusOf = async (server: TestServer, path: string, headers: Record<string, string>, method = 'GET') =>
  (await fetch(server.url + path, { method, headers, ...(method === 'PUT' && { body: 'x' }) })).status;

test('a stored key opens the server, and its revocation closes it at once, for sessions that are open, too', async (t) => {
  const keys = store(t);
  await using server = await serve(keys);
  const headers = keyWith(keys, {});
  const session = await openSession(server, headers);
  assert.equal((await session.call('execute_command', { command: 'true' })).result?.isError, undefined);
  keys.revoke('ann');
  const refused = await session.post(request('tools/list'));
  assert.equal(refused.status, 401);
  assert.equal((await fetch(server.mcp, { headers: { ...headers, 'mcp-session-id': session.id } })).status, 401);
});

test('two keys of one name are one owner: the second goes on with the first one’s session', async (t) => {
  const keys = store(t);
  await using server = await serve(keys);
  const [first, second, other] = [keyWith(keys, {}), keyWith(keys, {}), keyWith(keys, { name: 'ben' })];
  const session = await openSession(server, first);
  const go = (headers: Record<string, string>) =>
    fetch(server.mcp, {
      method: 'POST',
      headers: {
        ...headers,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-session-id': session.id,
      },
      body: JSON.stringify(request('tools/list')),
    });
  assert.equal((await go(second)).status, 200);
  assert.equal((await go(other)).status, 404);
});

test('a key is good for its scopes only', async (t) => {
  const keys = store(t);
  await using server = await serve(keys);
  const statuses = async (headers: Record<string, string>) => [
    await statusOf(server, '/sandboxes/sb-x/files/a', headers),
    await statusOf(server, '/sandboxes/sb-x/files/a', headers, 'PUT'),
    await statusOf(server, '/sandboxes/sb-x/terminals/t', headers),
    await statusOf(server, '/metrics', headers),
    await statusOf(server, '/mcp', headers, 'DELETE'),
    await statusOf(server, '/elsewhere', headers),
  ];
  assert.deepEqual(await statuses(keyWith(keys, { scopes: ['tools'] })), [403, 403, 403, 403, 400, 403]);
  assert.deepEqual(await statuses(keyWith(keys, { scopes: ['files'] })), [404, 404, 403, 403, 403, 403]);
  assert.deepEqual(await statuses(keyWith(keys, { scopes: ['terminals'] })), [403, 403, 426, 403, 403, 403]);
  assert.deepEqual(await statuses(keyWith(keys, { scopes: ['metrics'] })), [403, 403, 403, 200, 403, 403]);
  assert.deepEqual(await statuses(keyWith(keys, { scopes: ['read'] })), [404, 403, 403, 403, 400, 403]);
});

test('a key that may only read is shown the tools that change nothing, and may call no other', async (t) => {
  const keys = store(t);
  await using server = await serve(keys);
  const session = await openSession(server, keyWith(keys, { scopes: ['read'] }));
  const listed = await session.post(request('tools/list'));
  const tools = listed.messages[0]?.result?.['tools'] as { name: string; annotations: { readOnlyHint: boolean } }[];
  assert.ok(tools.some(({ name }) => name === 'list_files'));
  assert.ok(tools.every(({ annotations }) => annotations.readOnlyHint));
  const refused = await session.call('execute_command', { command: 'true' });
  assert.equal(refused.result?.isError, true);
  assert.equal(refused.result?.structuredContent?.['code'], 'forbidden');
  assert.deepEqual(server.sandboxes.calls, []);
});

test('a live terminal takes no more input from a key that has been revoked', async (t) => {
  const keys = store(t);
  const written: string[] = [];
  const watch = async (): Promise<TerminalWatch> => ({
    info: {} as TerminalWatch['info'],
    output: new ReadableStream(),
    write: async (bytes) => void written.push(new TextDecoder().decode(bytes)),
    resize: async () => {},
    exited: new Promise(() => {}),
  });
  const sandboxes = oneSandbox({ handle: 'sb-1', terminals: { watch } as unknown as TerminalsPort }, 'owner:ann');
  await using server = await startServer({ sandboxes, config: { auth: { mode: 'keys' } }, context: { keys } });
  const headers = keyWith(keys, { scopes: ['terminals'] });
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/sandboxes/sb-1/terminals/t`, { headers });
  await once(socket, 'open');
  socket.send(Buffer.from('before'));
  await until(() => written.length > 0, 'the first input');
  keys.revoke('ann');
  socket.send(Buffer.from('after'));
  const [code, reason] = (await once(socket, 'close')) as [number, Buffer];
  assert.deepEqual([code, String(reason)], [1008, 'The key is no longer valid.']);
  assert.deepEqual(written, ['before']);
});
