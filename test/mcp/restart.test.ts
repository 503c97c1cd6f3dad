import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client as LegacyClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as LegacyTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ServerProcess } from '../support/server-process.ts';

async function connect(url: string): Promise<LegacyClient> {
  const client = new LegacyClient({ name: 'restart', version: '1' });
  await client.connect(new LegacyTransport(new URL(`${url}/mcp`)));
  return client;
}

async function run(client: LegacyClient, command: string, args: Record<string, unknown> = {}) {
  const result = await client.callTool({ name: 'execute_command', arguments: { command, ...args } });
  return result.structuredContent as Record<string, unknown>;
}

/** A command's page once it has ended, with its output from the beginning. */
async function ended(client: LegacyClient, id: unknown): Promise<Record<string, unknown>> {
  for (;;) {
    const asked = { name: 'check_command', arguments: { command_id: id, wait: 10, offset: 0 } };
    const page = (await client.callTool(asked)).structuredContent as Record<string, unknown>;
    if (page['status'] !== 'running') return page;
  }
}

for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  test(`a client of the 2025 era goes on with its session, its shell and its command after ${signal}`, async () => {
    await using server = await ServerProcess.start();
    const client = await connect(server.url);
    await run(client, '(exit 5)');
    await server.kill(signal);
    await server.start();
    assert.equal((await run(client, 'echo $?'))['stdout'], '5\n');
    await run(client, 'cd /tmp; colour=green; greet() { echo "hello $1"; }');
    const begun = await run(client, 'for i in 1 2 3 4 5 6; do echo line $i; sleep 0.5; done; (exit 7)', { wait: 0.2 });
    assert.equal(begun['status'], 'running');
    const code = await server.kill(signal);
    assert.equal(code, signal === 'SIGTERM' ? 0 : signal);
    await server.start();
    const page = await ended(client, begun['command_id']);
    assert.deepEqual([page['exit_code'], page['stdout']], [7, 'line 1\nline 2\nline 3\nline 4\nline 5\nline 6\n']);
    const after = await run(client, 'echo "$? $PWD $colour"; greet again');
    assert.equal(after['stdout'], '7 /tmp green\nhello again\n');
  });
}

test('a command whose caller still waits goes on when the server stops, and so does what the next one knows of it', async () => {
  await using server = await ServerProcess.start({ BERTH_SERVER__DRAIN: '1' });
  const client = await connect(server.url);
  await run(client, 'mkdir -p out');
  const told = run(client, 'for i in 1 2 3 4 5 6; do echo line $i; sleep 0.5; done; touch out/end; (exit 7)');
  await new Promise((done) => setTimeout(done, 700));
  await server.kill('SIGTERM');
  const left = await told;
  assert.deepEqual([left['status'], left['stdout']?.toString().startsWith('line 1\n')], ['running', true]);
  await server.start();
  assert.equal((await ended(client, left['command_id']))['exit_code'], 7);
  assert.equal((await run(client, 'ls out'))['stdout'], 'end\n');
});

test('a second SIGTERM ends a draining server at once', async () => {
  await using server = await ServerProcess.start({ BERTH_SERVER__DRAIN: '60' });
  const client = await connect(server.url);
  run(client, 'sleep 30').catch(() => {});
  await new Promise((done) => setTimeout(done, 1500));
  const exit = server.kill('SIGTERM');
  await new Promise((done) => setTimeout(done, 500));
  const ready = await fetch(`${server.url}/ready`);
  assert.equal(ready.status, 503);
  process.kill(server.pid, 'SIGTERM');
  assert.equal(await exit, 143);
  await client.close();
});
