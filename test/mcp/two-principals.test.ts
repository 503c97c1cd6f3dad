import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';
import { after, before, suite, test } from 'node:test';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { WebSocket } from 'ws';
import { allTools } from '../../src/api/mcp/tool-set.ts';
import { ServerProcess } from '../support/server-process.ts';

const keys = { ann: 'ann-has-a-key-of-her-own', bob: 'bob-has-a-key-of-his-own' };
const unknown = `sb_${'0'.repeat(24)}`;

/** Arguments with which a tool would act, if the sandbox were the caller's. */
const attacks: Record<string, Record<string, unknown>> = {
  execute_command: { command: 'cat /workspace/secret; rm -rf /workspace/*' },
  check_command: { command_id: 'COMMAND' },
  stop_command: { command_id: 'COMMAND', signal: 'KILL' },
  get_working_directory: {},
  reset_session: { scope: 'workspace' },
  upload_file: { path: 'secret', content: 'mine' },
  download_file: { path: 'secret' },
  list_files: { path: '.' },
  edit_file: { path: 'secret', old_text: 'hers', new_text: 'mine' },
  move_file: { from: 'secret', to: 'mine' },
  remove_file: { path: 'secret' },
  make_directory: { path: 'mine' },
  search_files: { query: 'secret' },
  share_file: { path: 'secret' },
  request_upload: {},
  share_port: { port: 8000 },
  list_ports: {},
  start_shell_session: {},
  send_shell_input: { sessionId: 'TERMINAL', input: 'rm secret' },
  read_shell_output: { sessionId: 'TERMINAL' },
  resize_shell_session: { sessionId: 'TERMINAL', cols: 10, rows: 10 },
  list_shell_sessions: {},
  end_shell_session: { sessionId: 'TERMINAL' },
  keep_sandbox: { ttl: 60 },
  end_sandbox: {},
  sandbox_status: {},
};

suite('two principals', () => {
  let server: ServerProcess;
  let ann: Client;
  let bob: Client;
  let handle = '';
  let ids: Record<string, string> = {};

  const connect = async (key: string): Promise<Client> => {
    const client = new Client({ name: 'test', version: '1' });
    const headers = { authorization: `Bearer ${key}`, 'x-openwebui-chat-id': 'the-same-chat' };
    await client.connect(new StreamableHTTPClientTransport(new URL(`${server.url}/mcp`), { requestInit: { headers } }));
    return client;
  };

  const call = async (client: Client, name: string, args: Record<string, unknown>) => {
    const result = await client.callTool({ name, arguments: args });
    const [first] = result.content as { text?: string }[];
    return {
      isError: result.isError === true,
      text: first?.text ?? '',
      fields: (result.structuredContent ?? {}) as Record<string, unknown>,
    };
  };

  before(async () => {
    server = await ServerProcess.start({ BERTH_AUTH__KEYS: `ann=${keys.ann},bob=${keys.bob}` });
    [ann, bob] = [await connect(keys.ann), await connect(keys.bob)];
    await call(ann, 'execute_command', { command: 'echo hers > /workspace/secret' });
    const { fields: running } = await call(ann, 'execute_command', { command: 'sleep 300', wait: 0 });
    const { fields: terminal } = await call(ann, 'start_shell_session', {});
    const { fields: status } = await call(ann, 'sandbox_status', {});
    ids = { COMMAND: String(running['command_id']), TERMINAL: String(terminal['sessionId']) };
    handle = String(status['sandbox']);
    await call(bob, 'execute_command', { command: 'echo his > /workspace/secret' });
  });

  after(() => server[Symbol.asyncDispose]());

  const filled = (args: Record<string, unknown>) =>
    Object.fromEntries(Object.entries(args).map(([name, value]) => [name, ids[String(value)] ?? value]));

  test('every tool that takes a sandbox is tried', () => {
    const takers = allTools.filter(({ listed }) => 'sandbox' in (listed.inputSchema['properties'] as object));
    const tried = Object.keys(attacks);
    const offered = takers.map((tool) => tool.name).filter((name) => name !== 'fetch_attachments');
    assert.deepEqual(tried.sort(), offered.sort());
  });

  for (const name of Object.keys(attacks)) {
    test(`${name} answers for another’s sandbox as for one that does not exist`, async () => {
      const args = filled(attacks[name] ?? {});
      const [foreign, none] = [
        await call(bob, name, { ...args, sandbox: handle }),
        await call(bob, name, { ...args, sandbox: unknown }),
      ];
      assert.deepEqual(foreign, none);
      assert.equal(foreign.isError, true);
    });
  }

  for (const name of ['check_command', 'stop_command', 'send_shell_input', 'read_shell_output', 'end_shell_session']) {
    test(`${name} does not find another’s id in the caller’s own sandbox`, async () => {
      const { isError, text } = await call(bob, name, filled(attacks[name] ?? {}));
      assert.equal(isError, true);
      assert.match(text, /\[error · not_found\]$/);
    });
  }

  for (const [method, path] of [
    ['GET', 'files/secret'],
    ['HEAD', 'files/secret'],
    ['PUT', 'files/secret'],
  ] as const) {
    test(`${method} ${path} answers for another’s sandbox as for one that does not exist`, async () => {
      const ask = async (sandbox: string) => {
        const url = `${server.url}/sandboxes/${sandbox}/${path}`;
        const headers = { authorization: `Bearer ${keys.bob}` };
        const response = await fetch(url, { method, headers, ...(method === 'PUT' && { body: 'mine' }) });
        const said = await response.text();
        return { status: response.status, text: said.replace(/"request_id":"[^"]*"/, '') };
      };
      const foreign = await ask(handle);
      assert.deepEqual(foreign, await ask(unknown));
      assert.ok(foreign.status >= 400 && foreign.status < 500);
    });
  }

  test('a live terminal answers for another’s sandbox as for one that does not exist', async () => {
    const ask = async (sandbox: string, key: string) => {
      const url = `${server.url}/sandboxes/${sandbox}/terminals/${ids['TERMINAL']}`.replace('http', 'ws');
      const socket = new WebSocket(url, { headers: { authorization: `Bearer ${key}` } });
      const { promise, resolve, reject } = Promise.withResolvers<readonly [number, string]>();
      socket.on('error', reject).on('open', () => {
        resolve([101, '']);
        socket.terminate();
      });
      socket.on('unexpected-response', (_, response) => {
        text(response).then((said) => resolve([response.statusCode ?? 0, said]), reject);
      });
      return await promise;
    };
    assert.deepEqual(await ask(handle, keys.ann), [101, '']);
    const foreign = await ask(handle, keys.bob);
    assert.deepEqual(foreign, await ask(unknown, keys.bob));
    assert.equal(foreign[0], 404);
  });

  test('another’s MCP session is as unknown as one that does not exist', async () => {
    const open = await fetch(`${server.url}/mcp`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${keys.ann}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
      },
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'initialize',
        params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'a', version: '1' } },
      }),
    });
    const session = open.headers.get('mcp-session-id') ?? '';
    const ask = async (id: string) => {
      const headers = { authorization: `Bearer ${keys.bob}`, 'mcp-session-id': id };
      const response = await fetch(`${server.url}/mcp`, { method: 'DELETE', headers });
      return [response.status, await response.text()];
    };
    const foreign = await ask(session);
    assert.deepEqual(foreign, await ask('00000000-0000-4000-8000-000000000000'));
    assert.equal(foreign[0], 404);
  });

  test('nothing of hers has changed, and neither lists the other’s', async () => {
    const { fields } = await call(ann, 'download_file', { path: 'secret' });
    assert.equal(fields['content'], 'hers\n');
    const { fields: command } = await call(ann, 'check_command', { command_id: ids['COMMAND'] });
    assert.equal(command['status'], 'running');
    const { fields: list } = await call(bob, 'list_sandboxes', {});
    const listed = (list['sandboxes'] as { sandbox: string }[]).map(({ sandbox }) => sandbox);
    assert.equal(listed.length, 1);
    assert.ok(!listed.includes(handle));
  });
});
