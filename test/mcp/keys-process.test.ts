import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { openSession, request } from '../support/raw.ts';
import { ServerProcess } from '../support/server-process.ts';

const run = promisify(execFile);

/** The command line, on a server's state. */
async function berth(server: ServerProcess, ...words: string[]): Promise<string> {
  const argv = ['--disable-warning=ExperimentalWarning', resolve('src/main.ts'), ...words];
  const env = { ...process.env, BERTH_SERVER__STATE_DIR: server.stateDirectory };
  return (await run(process.execPath, argv, { env })).stdout.trim();
}

test('keys made and revoked on the command line count at once in the server that runs', async () => {
  await using server = await ServerProcess.start({ BERTH_AUTH__KEYS: 'first=first-key-0123456789' });
  const key = await berth(server, 'key', 'create', 'ann', '--scopes', 'tools', '--expires', '1d');
  const headers = { authorization: `Bearer ${key}` };
  const session = await openSession({ mcp: `${server.url}/mcp`, url: server.url } as never, headers);
  assert.equal((await session.post(request('tools/list'))).status, 200);
  const [listed] = JSON.parse(await berth(server, 'key', 'list', '--json')) as Record<string, unknown>[];
  assert.deepEqual([listed?.['name'], listed?.['status'], listed?.['scopes']], ['ann', 'good', ['tools']]);
  assert.match(String(listed?.['last_used']), /^\d{4}-/);
  assert.match(await berth(server, 'key', 'revoke', 'ann'), /^revoked key_[0-9a-f]{8} of ann$/);
  assert.equal((await session.post(request('tools/list'))).status, 401);
});

test('a server starts with keys of its state alone, and stays closed when the last of them is revoked', async () => {
  await using server = await ServerProcess.start();
  const open = async () => (await fetch(`${server.url}/metrics`)).status;
  assert.equal(await open(), 200);
  await berth(server, 'key', 'create', 'ann');
  await server.kill('SIGTERM');
  await server.start();
  assert.equal(await open(), 401);
  await berth(server, 'key', 'revoke', 'ann');
  await server.kill('SIGTERM');
  await server.start();
  assert.equal(await open(), 401);
});
