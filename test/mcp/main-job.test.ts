import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { ServerProcess } from '../support/server-process.ts';

const rows = 100_000;
const csv = [
  'id,region,amount',
  ...Array.from({ length: rows }, (_, i) => `${i},${['north', 'south', 'east'][i % 3]},${i % 100}`),
].join('\n');

const script = `
import os, pandas as pd
import matplotlib.pyplot as plt
frame = pd.read_csv('sales.csv')
total = frame.groupby('region')['amount'].sum()
total.to_csv('summary.csv')
total.plot.bar(title=os.environ['REPORT']).figure.savefig('plot.png')
print(len(frame), total.to_dict())
`;

const chat = { 'X-OpenWebUI-Chat-Id': 'main-job' };

async function connect(url: string): Promise<Client> {
  const client = new Client({ name: 'main-job', version: '1' });
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { requestInit: { headers: chat } }));
  return client;
}

interface Answer {
  readonly text: string;
  readonly fields: Record<string, unknown>;
}

async function call(client: Client, name: string, args: Record<string, unknown>): Promise<Answer> {
  const result = await client.callTool({ name, arguments: args });
  const first = (result.content as { type: string; text?: string }[])[0];
  assert.notEqual(result.isError, true, `${name}: ${first?.text}`);
  return { text: first?.text ?? '', fields: (result.structuredContent ?? {}) as Record<string, unknown> };
}

async function run(client: Client, command: string): Promise<string> {
  const { fields } = await call(client, 'execute_command', { command });
  assert.deepEqual([fields['status'], fields['exit_code'], fields['stderr']], ['success', 0, ''], command);
  return String(fields['stdout']);
}

test('a chat does its work, the server is killed, and the chat goes on in the same shell', async () => {
  await using server = await ServerProcess.start();
  const client = await connect(server.url);

  await call(client, 'upload_file', { path: 'report/sales.csv', content: csv });
  await run(
    client,
    'cd report && python3 -m venv --system-site-packages .venv && . .venv/bin/activate && export REPORT="Sales by region"',
  );
  await call(client, 'upload_file', { path: 'report/report.py', content: script });
  assert.equal(await run(client, 'python report.py'), "100000 {'east': 1650000, 'north': 1650033, 'south': 1649967}\n");

  const { fields: listing } = await call(client, 'list_files', { path: 'report' });
  const names = (listing['entries'] as { path: string }[])
    .map((entry) => entry.path)
    .filter((name) => !name.startsWith('.'));
  assert.deepEqual(names.sort(), ['plot.png', 'report.py', 'sales.csv', 'summary.csv']);
  const { fields: summary } = await call(client, 'download_file', { path: 'report/summary.csv' });
  assert.equal(summary['content'], 'region,amount\neast,1650000\nnorth,1650033\nsouth,1649967\n');
  const { fields: plot } = await call(client, 'download_file', { path: 'report/plot.png', encoding: 'base64' });
  assert.equal(Buffer.from(String(plot['content']), 'base64').subarray(1, 4).toString(), 'PNG');

  const { fields: terminal } = await call(client, 'start_shell_session', {
    cwd: '/workspace/report',
    cols: 60,
    rows: 12,
  });
  const sessionId = terminal['sessionId'];
  await call(client, 'send_shell_input', { sessionId, input: 'vim notes.txt' });
  await call(client, 'read_shell_output', { sessionId, mode: 'snapshot', until: 'notes.txt', wait: 10 });
  await call(client, 'send_shell_input', { sessionId, input: 'iThe east lags behind.', raw: true, keys: ['escape'] });
  const { fields: screen } = await call(client, 'read_shell_output', { sessionId, until: 'lags behind', wait: 10 });
  assert.equal(String(screen['output']).split('\n')[0], 'The east lags behind.');
  assert.equal((screen['metadata'] as Record<string, unknown>)['isSnapshot'], true);
  await call(client, 'send_shell_input', { sessionId, input: ':w' });
  await call(client, 'read_shell_output', { sessionId, mode: 'snapshot', until: 'written', wait: 10 });
  assert.equal(await run(client, 'cat notes.txt'), 'The east lags behind.\n');

  await server.kill('SIGKILL');
  await server.start();
  const again = await connect(server.url);
  assert.equal(
    await run(again, 'echo "$PWD|$REPORT|$VIRTUAL_ENV"'),
    '/workspace/report|Sales by region|/workspace/report/.venv\n',
  );
  assert.equal(
    await run(again, 'python report.py && cat summary.csv | wc -l'),
    "100000 {'east': 1650000, 'north': 1650033, 'south': 1649967}\n4\n",
  );
  const { fields: after } = await call(again, 'read_shell_output', { sessionId, mode: 'snapshot' });
  assert.equal(String(after['output']).split('\n')[0], 'The east lags behind.');
});
