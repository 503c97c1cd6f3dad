import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createMCPClient } from '@ai-sdk/mcp';
import { Client, StreamableHTTPClientTransport, type ClientOptions } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { allTools } from '../../src/api/mcp/tool-set.ts';
import { until } from '../support/raw.ts';
import { startServer } from '../support/server.ts';

/** Others' clients, unchanged, against the real server: each lists the tools, changes directory, and finds it changed. */

const key = 'a-key-of-some-length';
const config = { auth: { mode: 'keys', keys: `ann=${key}` } };
const headers = { authorization: `Bearer ${key}`, 'x-librechat-conversation-id': 'chat' };
// Offered where `open_webui.url` is set alone.
const names = allTools.map((tool) => tool.name).filter((name) => name !== 'fetch_attachments');
const pwd = '/tmp\n[exit 0 · 0.05 s · /tmp]';

const modes: [string, NonNullable<ClientOptions['versionNegotiation']>, string][] = [
  ['legacy', { mode: 'legacy' }, '2025-11-25'],
  ['auto', { mode: 'auto' }, '2026-07-28'],
  ['pinned', { mode: { pin: '2026-07-28' } }, '2026-07-28'],
];

for (const [name, versionNegotiation, version] of modes)
  test(`@modelcontextprotocol/client, ${name}`, async () => {
    await using server = await startServer({ config });
    const client = new Client({ name: 'test', version: '1' }, { versionNegotiation });
    const transport = new StreamableHTTPClientTransport(new URL(server.mcp), { requestInit: { headers } });
    await client.connect(transport);
    assert.equal(client.getNegotiatedProtocolVersion(), version);
    const { tools } = await client.listTools();
    assert.deepEqual(
      tools.map((tool) => tool.name),
      names,
    );
    await client.callTool({ name: 'execute_command', arguments: { command: 'cd /tmp' } });
    const result = await client.callTool({ name: 'execute_command', arguments: { command: 'pwd' } });
    assert.deepEqual(result.content, [{ type: 'text', text: pwd }]);
    const refused = await client.callTool({ name: 'execute_command', arguments: {} });
    assert.equal(refused.isError, true);
    if (name === 'legacy') await transport.terminateSession();
    await client.close();
    await until(() => server.app.sessions() === 0, 'the session to end');
  });

test('@modelcontextprotocol/sdk, the deployed line', async () => {
  await using server = await startServer({ config });
  const client = new ClientV1({ name: 'test', version: '1' });
  const transport = new TransportV1(new URL(server.mcp), { requestInit: { headers } });
  await client.connect(transport);
  const { tools } = await client.listTools();
  assert.deepEqual(
    tools.map((tool) => tool.name),
    names,
  );
  const told: unknown[] = [];
  const call = { name: 'execute_command', arguments: { command: 'cd /tmp; echo a line' } };
  await client.callTool(call, undefined, { onprogress: (progress) => told.push(progress) });
  assert.deepEqual(told, [{ progress: 7, message: 'a line' }]);
  const result = await client.callTool({ name: 'execute_command', arguments: { command: 'pwd' } });
  assert.deepEqual(result.content, [{ type: 'text', text: pwd }]);
  await transport.terminateSession();
  await client.close();
  assert.equal(server.app.sessions(), 0);
});

test('@ai-sdk/mcp', async () => {
  await using server = await startServer({ config });
  const client = await createMCPClient({ transport: { type: 'http', url: server.mcp, headers } });
  const tools = await client.tools();
  assert.deepEqual(Object.keys(tools), names);
  const run = (command: string) =>
    tools['execute_command']!.execute({ command }, { toolCallId: '1', messages: [] } as never);
  await run('cd /tmp');
  const result = (await run('pwd')) as { content: unknown };
  assert.deepEqual(result.content, [{ type: 'text', text: pwd }]);
  await client.close();
});

const require = createRequire(import.meta.url);
const binary = (name: string, path: string) => join(dirname(require.resolve(`${name}/package.json`)), path);

/** Runs a package's program in an empty home, where no settings of this machine's user are found. */
async function program(script: string, args: string[]): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), 'client-'));
  const env = { PATH: process.env['PATH'], HOME: home, XDG_CONFIG_HOME: home, NO_COLOR: '1' };
  const child = promisify(execFile)(process.execPath, [script, ...args], { cwd: home, env, timeout: 60_000 });
  child.child.stdin?.end();
  const { stdout } = await child;
  await rm(home, { recursive: true });
  return stdout;
}

test('MCP Inspector’s command line', { timeout: 120_000 }, async () => {
  await using server = await startServer({ config });
  const inspector = binary('@modelcontextprotocol/inspector', 'clients/launcher/build/index.js');
  const at = [
    '--cli',
    server.mcp,
    '--transport',
    'http',
    '--header',
    `authorization: Bearer ${key}`,
    '--header',
    'x-librechat-conversation-id: chat',
  ];
  const call = (command: string) => [
    ...at,
    '--method',
    'tools/call',
    '--tool-name',
    'execute_command',
    '--tool-arg',
    `command=${command}`,
  ];
  const listed = JSON.parse(await program(inspector, [...at, '--method', 'tools/list'])) as {
    tools: { name: string }[];
  };
  assert.deepEqual(
    listed.tools.map((tool) => tool.name),
    names,
  );
  await program(inspector, call('cd /tmp'));
  const result = JSON.parse(await program(inspector, call('pwd'))) as { content: unknown };
  assert.deepEqual(result.content, [{ type: 'text', text: pwd }]);
});

test('mcporter', { timeout: 120_000 }, async () => {
  await using server = await startServer();
  const mcporter = join(dirname(fileURLToPath(import.meta.resolve('mcporter'))), 'cli.js');
  const list = await program(mcporter, [
    'list',
    '--http-url',
    server.mcp,
    '--allow-http',
    '--name',
    'berth',
    '--schema',
    '--json',
  ]);
  const { tools } = JSON.parse(list) as { tools: { name: string }[] };
  assert.deepEqual(tools.map((tool) => tool.name).sort(), names.toSorted());
  const call = [
    'call',
    '--http-url',
    server.mcp,
    '--allow-http',
    '--name',
    'berth',
    'execute_command',
    'command=echo hi',
    '--output',
    'text',
  ];
  assert.equal(await program(mcporter, call), 'hi\n[exit 0 · 0.05 s · /workspace]\n');
});
