import assert from 'node:assert/strict';

import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { after, before, suite, test } from 'node:test';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { engine } from '../support/docker-runtime.ts';
import { Pane, sessionSecret, tokenOf } from '../support/pane.ts';
import { eventually } from '../support/run.ts';
import { ServerProcess } from '../support/server-process.ts';

const key = 'a-shared-connection-0123456789';
let server: ServerProcess;

before(async () => {
  server = await ServerProcess.start({
    BERTH_AUTH__KEYS: JSON.stringify([{ name: 'webui', key, users: 'headers' }]),
    BERTH_OPEN_WEBUI__SESSION_SECRET: sessionSecret,
    BERTH_OPEN_TERMINAL__TOOLS: 'native',
    BERTH_SESSION__TEMPLATE: 'base',
  });
});
after(() => server[Symbol.asyncDispose]());

/** The MCP connection of the same user and chat. */
async function mcpOf(user: string, chat: string): Promise<Client> {
  const client = new Client({ name: 'test', version: '1' });
  const headers = { authorization: `Bearer ${await tokenOf(user)}`, 'x-openwebui-chat-id': chat };
  await client.connect(new StreamableHTTPClientTransport(new URL(`${server.url}/mcp`), { requestInit: { headers } }));
  return client;
}

/** Open WebUI's client gets the text alone. */
async function textOf(mcp: Client, name: string, args: Record<string, unknown>): Promise<string> {
  const { content } = await mcp.callTool({ name, arguments: args });
  return (content as { text?: string }[])[0]?.text ?? '';
}

async function containers(): Promise<number> {
  const filters = { label: [`berth.instance=${await server.instance()}`, 'berth.principal'] };
  return (await engine().listContainers({ all: true, filters })).length;
}

suite('discovery', () => {
  test('is open, and says what Open WebUI looks for', async () => {
    const get = async (path: string) => (await fetch(`${server.url}/open-terminal${path}`)).json();
    assert.deepEqual(await get('/api/config'), { features: { terminal: true, notebooks: false, system: true } });
    assert.deepEqual(await get('/api/v1/policies'), []);
    const { paths } = (await get('/openapi.json')) as {
      paths: Record<string, Record<string, { operationId: string }>>;
    };
    const ids = Object.values(paths).flatMap((methods) => Object.values(methods).map(({ operationId }) => operationId));
    for (const id of ['run_command', 'display_file', 'read_user_terminal']) assert.ok(ids.includes(id), id);
    assert.equal(new Set(ids).size, ids.length);
  });

  test('the rest needs a proof, and every error is a sentence', async () => {
    const none = await fetch(`${server.url}/open-terminal/files/list`);
    assert.equal(none.status, 401);
    assert.deepEqual(Object.keys((await none.json()) as object), ['detail']);
  });
});

suite('identity', () => {
  test('X-User-Id must be the user whom the token proves', async () => {
    const ann = await Pane.of(server.url, 'ann');
    const answer = await ann.fetch('/execute', { headers: { 'x-user-id': 'bob' } });
    assert.deepEqual(
      [answer.status, await answer.json()],
      [403, { detail: 'X-User-Id names another user than the token proves.' }],
    );
  });

  test('a shared key takes its users from X-User-Id, and none without one', async () => {
    const asked = (headers: object) =>
      fetch(`${server.url}/open-terminal/files/cwd`, { headers: { authorization: `Bearer ${key}`, ...headers } });
    assert.equal((await asked({ 'x-user-id': 'carl' })).status, 200);
    assert.equal((await asked({})).status, 401);
  });

  test('chats that are nobody’s own are refused', async () => {
    const ann = await Pane.of(server.url, 'ann');
    for (const id of ['chat:temporary:1', 'chat:channel:5', 'chat:local:x']) {
      const answer = await ann.fetch('/files/list', { headers: { 'x-terminal-context-id': id } });
      assert.equal(answer.status, 409, id);
    }
  });
});

suite('polling', () => {
  test('ten chats that were never used start no container', async () => {
    const before = await containers();
    const polls = [
      '/execute',
      '/ports',
      '/files/cwd',
      '/skills',
      '/api/terminals',
      '/files/list?directory=/workspace',
      '/files/read?path=/workspace/AGENTS.md',
    ];
    for (let chat = 0; chat < 10; chat++) {
      const pane = await Pane.of(server.url, 'polly', randomUUID());
      for (const path of polls) {
        const { status } = await pane.ask(path);
        assert.equal(status, path.includes('AGENTS') ? 404 : 200, path);
      }
    }
    assert.equal(await containers(), before);
  });

  test('a poll of a running sandbox is no use of it and fills no log', async () => {
    const chat = randomUUID();
    const pane = await Pane.of(server.url, 'polly', chat);
    await pane.ask('/execute', { command: 'true' });
    const mcp = await mcpOf('polly', chat);
    const deadline = async () => {
      const text = await textOf(mcp, 'sandbox_status', {});
      return Date.parse(/ends when idle: (\S+Z)/.exec(text)?.[1] ?? '');
    };
    const first = await deadline();
    for (let turn = 0; turn < 100; turn++) assert.equal((await pane.ask('/execute')).status, 200);
    assert.ok(Math.abs((await deadline()) - first) < 50, 'the idle deadline moved');
    await mcp.close();
  });
});

suite('one computer for panes and MCP', () => {
  const chat = randomUUID();
  let ann: Pane;
  let mcp: Client;
  const call = (name: string, args: Record<string, unknown>) => textOf(mcp, name, args);

  before(async () => {
    ann = await Pane.of(server.url, 'ann', chat);
    mcp = await mcpOf('ann', chat);
  });
  after(() => mcp.close());

  test('what MCP writes the panes read, and the other way round', async () => {
    await call('upload_file', { path: 'from-mcp.txt', content: 'one\ntwo\n' });
    const read = await ann.ask('/files/read?path=/workspace/from-mcp.txt&start_line=2');
    assert.deepEqual(read.body, { path: '/workspace/from-mcp.txt', content: 'two\n', total_lines: 2 });
    assert.deepEqual((await ann.ask('/files/write', { path: 'd/from-pane.txt', content: 'x' })).body, {
      path: '/workspace/d/from-pane.txt',
      size: 1,
    });
    assert.match(await call('download_file', { path: 'd/from-pane.txt' }), /^x\n/);
    const { entries } = (await ann.ask('/files/list?directory=/workspace/')).body as {
      entries: { name: string; type: string; writable: boolean }[];
    };
    assert.deepEqual(entries.map(({ name, type, writable }) => [name, type, writable]).toSorted(), [
      ['d', 'directory', true],
      ['from-mcp.txt', 'file', true],
    ]);
  });

  test('cd and export last, in both directions', async () => {
    const run = async (command: string) =>
      (await ann.ask('/execute', { command })).body as {
        output: { data: string }[];
        status: string;
        exit_code: number;
      };
    await run('cd d; export COLOUR=blue');
    assert.match(await call('execute_command', { command: 'echo $COLOUR; pwd' }), /^blue\n\/workspace\/d\n/);
    const failed = await run('echo out; echo err >&2; exit 3');
    assert.deepEqual(
      [failed.status, failed.exit_code, failed.output],
      [
        'done',
        3,
        [
          { type: 'stdout', data: 'out\r\n' },
          { type: 'stderr', data: 'err\r\n' },
        ],
      ],
    );
    const aside = await ann.ask('/execute', { command: 'pwd; echo $NAME', cwd: '/tmp', env: { NAME: "it's" } });
    assert.deepEqual((aside.body as { output: unknown }).output, [{ type: 'stdout', data: "/tmp\r\nit's\r\n" }]);
  });

  test('the list shows an MCP command as it runs; it is followed and ended', async () => {
    await call('execute_command', { command: 'echo first; sleep 300', wait: 0.5 });
    const list = (await ann.ask('/execute')).body as unknown as { id: string; command: string; status: string }[];
    const id = list.find(({ command }) => command.startsWith('echo first'))?.id;
    assert.deepEqual(
      list.filter((one) => one.id === id).map(({ status }) => status),
      ['running'],
    );
    const first = (await ann.ask(`/execute/${String(id)}/status`)).body as { output: unknown; next_offset: number };
    assert.deepEqual(first.output, [{ type: 'stdout', data: 'first\r\n' }]);
    const again = (await ann.ask(`/execute/${String(id)}/status?offset=${first.next_offset}`)).body as {
      output: unknown;
    };
    assert.deepEqual(again.output, []);
    const beside = (await ann.ask('/execute?wait=1', { command: 'pwd; read -p "name? " n; echo "<$n>"' })).body;
    assert.match(String(beside['note']), /ran beside it/);
    assert.equal(beside['status'], 'running');
    await ann.ask(`/execute/${String(beside['id'])}/input`, { input: 'berth\\n' });
    const told = (await ann.ask(`/execute/${String(beside['id'])}/status?wait=10`)).body;
    assert.deepEqual([told['status'], told['exit_code']], ['done', 0]);
    assert.match(JSON.stringify(told['output']), /\/workspace\/d.*<berth>/);
    assert.deepEqual((await ann.ask(`/execute/${String(id)}?force=True`, undefined, 'DELETE')).body, {
      status: 'killed',
    });
    const ended = (await ann.ask(`/execute/${String(id)}/status`)).body;
    assert.notEqual(ended['status'], 'running');
  });

  test('an upload of 64 MiB with a name in another script arrives whole, and a broken one leaves nothing', async () => {
    const bytes = randomBytes(64 * 1024 * 1024);
    const up = await ann.upload('/workspace/up', 'snö "雪".bin', new Blob([bytes]));
    assert.deepEqual(up.body, { path: '/workspace/up/snö "雪".bin', size: bytes.length });
    const seen = await ann.fetch(`/files/view?path=${encodeURIComponent('/workspace/up/snö "雪".bin')}`);
    const digest = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');
    assert.equal(digest(await seen.bytes()), digest(bytes));
    const broken = await ann.fetch('/files/upload?directory=/workspace/broken', {
      method: 'POST',
      headers: { 'content-type': 'multipart/form-data; boundary=b' },
      body: '--b\r\nContent-Disposition: form-data; name="file"; filename="half"\r\n\r\nhalf of it',
    });
    assert.equal(broken.status, 400);
    assert.equal((await ann.ask('/files/display?path=/workspace/broken/half')).body['exists'], false);
  });

  test('text is replaced whole or not at all', async () => {
    await ann.ask('/files/write', { path: 'r.txt', content: 'a b a\n' });
    const twice = await ann.ask('/files/replace', {
      path: 'r.txt',
      replacements: [
        { target: 'b', replacement: 'c' },
        { target: 'a', replacement: 'x' },
      ],
    });
    assert.equal(twice.status, 400);
    const good = await ann.ask('/files/replace', {
      path: 'r.txt',
      replacements: [{ target: 'a', replacement: 'x', allow_multiple: true }],
    });
    assert.deepEqual(good.body, { path: '/workspace/r.txt', size: 6 });
    assert.equal((await ann.ask('/files/read?path=r.txt')).body['content'], 'x b x\n');
  });

  test('names are moved without overwriting, removed with all below, found, and downloaded as a zip', async () => {
    assert.equal((await ann.ask('/files/mkdir', { path: 'm/deep' })).status, 200);
    assert.equal((await ann.ask('/files/mkdir', { path: 'm/deep' })).status, 200);
    await ann.ask('/files/write', { path: 'm/deep/note.txt', content: 'one\nthe needle here\n' });
    await ann.ask('/files/write', { path: 'm/other.txt', content: 'x' });
    const move = (source: string, destination: string) => ann.ask('/files/move', { source, destination });
    assert.equal((await move('m/deep/note.txt', 'm/other.txt')).status, 409);
    assert.equal((await move('m/none', 'm/b')).status, 404);
    assert.equal((await move('m/other.txt', 'm/nowhere/b')).status, 400);
    assert.deepEqual((await move('m/other.txt', 'm/needle.txt')).body, {
      source: '/workspace/m/other.txt',
      destination: '/workspace/m/needle.txt',
    });
    const found = (await ann.ask('/files/matches?query=needle&path=/workspace/m')).body;
    const results = found['results'] as Record<string, unknown>[];
    assert.deepEqual(
      results.map((match) => [match['relative_path'], match['name_match'], match['content_matches']]),
      [
        ['needle.txt', true, []],
        ['deep/note.txt', false, [{ line: 2, column: 5, text: 'the needle here' }]],
      ],
    );
    const zip = await ann.fetch('/files/archive', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ paths: ['/workspace/m'] }),
    });
    assert.equal(zip.headers.get('content-type'), 'application/octet-stream');
    const bytes = Buffer.from(await zip.arrayBuffer());
    assert.ok(bytes.includes('deep/note.txt') && bytes.includes('the needle here'));
    const remove = () => ann.ask('/files/delete?path=/workspace/m', undefined, 'DELETE');
    assert.deepEqual((await remove()).body, { path: '/workspace/m', type: 'directory' });
    assert.equal((await remove()).status, 404);
  });

  test('what listens is listed and shown, and a redirect stays under the path that only the browser knows', async () => {
    const program = [
      'from http.server import *',
      'class H(BaseHTTPRequestHandler):',
      '  def do_GET(s):',
      '    s.send_response(302 if s.path == "/go/" else 200)',
      '    s.send_header("Location", "/there?x=1") if s.path == "/go/" else s.send_header("Set-Cookie", "a=b")',
      '    s.end_headers(); s.wfile.write(s.path.encode())',
      'HTTPServer(("127.0.0.1", 8123), H).serve_forever()',
    ];
    await ann.ask('/files/write', { path: 'serve.py', content: program.join('\n') });
    await ann.ask('/execute?wait=5', { command: 'python3 /workspace/serve.py >/dev/null 2>&1 &' });
    const ports = async () => (await ann.ask('/ports')).body['ports'] as Record<string, unknown>[];
    await eventually(async () => (await ports()).some(({ port }) => port === 8123));
    const [listed] = (await ports()).filter(({ port }) => port === 8123);
    assert.equal(listed?.['process'], 'python3');
    const page = await ann.fetch('/proxy/8123/a/b?c=d');
    assert.equal(await page.text(), '/a/b?c=d');
    assert.equal(page.headers.get('set-cookie'), null);
    assert.match(page.headers.get('content-security-policy') ?? '', /^sandbox (?!.*allow-same-origin)/);
    const redirect = await ann.fetch('/proxy/8123/go/', { redirect: 'manual' });
    assert.deepEqual([redirect.status, redirect.headers.get('location')], [302, '../there?x=1']);
    assert.equal((await ann.fetch('/proxy/8124/')).status, 404);
    const other = await Pane.of(server.url, 'bob');
    assert.equal((await other.fetch('/proxy/8123/')).status, 404);
  });

  test('another user of the same chat id, and another chat, see none of it', async () => {
    const bob = await Pane.of(server.url, 'bob', chat);
    assert.deepEqual((await bob.ask('/files/list?directory=/workspace')).body['entries'], []);
    assert.deepEqual((await bob.ask('/execute')).body, []);
    const other = await Pane.of(server.url, 'ann', randomUUID());
    assert.deepEqual((await other.ask('/files/list?directory=/workspace')).body['entries'], []);
  });
});

suite('the Shell tab', () => {
  const chat = randomUUID();

  test('is there after a reload, repainted; a second window gets a shell of its own', { timeout: 40_000 }, async () => {
    const ann = await Pane.of(server.url, 'ann', chat);
    const { id } = (await ann.ask('/api/terminals', {})).body as { id: string };
    const tab = ann.shell(id);
    await tab.until(/\$/);
    tab.type('vim notes.txt\r');
    await tab.until(/\[New\]/);
    tab.type('ihello from before');
    await tab.until(/before/);
    const { id: second } = (await ann.ask('/api/terminals', {})).body as { id: string };
    assert.notEqual(second, id);
    await ann.ask(`/api/terminals/${second}`, undefined, 'DELETE');
    await tab.close();
    await eventually(async () => (await ann.ask('/api/terminals/user/output')).status === 404);
    assert.equal(((await ann.ask('/api/terminals', {})).body as { id: string }).id, id);
    const back = ann.shell(id);
    await back.until(/hello from before/);
    assert.deepEqual(back.texts, []);
    assert.match(String((await ann.ask('/api/terminals/user/output')).body['output']), /hello from before/);
    assert.deepEqual((await ann.ask('/api/terminals/user/input', { input: '\x1b:q!\n' })).body, { status: 'ok' });
    await back.until(/\?1049l/);
    await ann.ask('/api/terminals/user/input', { input: 'echo $((6*7))x\n' });
    await back.until(/42x/);
    back.socket.send(JSON.stringify({ type: 'ping' }));
    back.socket.send(JSON.stringify({ type: 'resize', cols: 100, rows: 30 }));
    back.type('stty size\r');
    await back.until(/30 100/);
    await back.close();
    assert.equal((await ann.ask('/api/terminals/user/output')).status, 404);
  });

  test('survives a restart of the server', { timeout: 40_000 }, async () => {
    const ann = await Pane.of(server.url, 'ann', chat);
    const { id } = (await ann.ask('/api/terminals', {})).body as { id: string };
    const tab = ann.shell(id);
    await tab.until(/\$/);
    tab.type('export KEPT=yes; echo $((1+1))kept\r');
    await tab.until(/2kept/);
    await tab.close();
    await server.kill('SIGKILL');
    await server.start();
    assert.equal(((await ann.ask('/api/terminals', {})).body as { id: string }).id, id);
    const back = ann.shell(id);
    await back.until(/\$/);
    back.type('echo $KEPT-$KEPT\r');
    await back.until(/yes-yes/);
    await back.close();
  });

  test('bearer mode: the key in the first frame, the user in X-User-Id', async () => {
    const header = { authorization: `Bearer ${key}`, 'x-user-id': 'carl', 'x-terminal-context-id': `chat:${chat}` };
    const opened = await fetch(`${server.url}/open-terminal/api/terminals`, { method: 'POST', headers: header });
    const { id } = (await opened.json()) as { id: string };
    const carl = await Pane.of(server.url, 'carl', chat);
    const tab = carl.shell(id, { type: 'auth', token: key });
    await tab.until(/\$/);
    await tab.close();
    // The same name proved in another way is another principal.
    assert.equal((await carl.shell(id).closed).code, 4004);
  });

  test('sockets that prove nothing are bounded', async () => {
    const ann = await Pane.of(server.url, 'ann', chat);
    const silent = Array.from({ length: 64 }, () => ann.shell('term_none', null));
    await Promise.all(silent.map(({ socket }) => once(socket, 'open')));
    assert.equal((await ann.shell('term_none', null).closed).code, 4029);
    silent.forEach(({ socket }) => socket.terminate());
    await eventually(async () => (await ann.shell('term_none').closed).code === 4004);
  });

  test('is closed to who proves nothing, and to others as if it did not exist', async () => {
    const ann = await Pane.of(server.url, 'ann', chat);
    const { id } = (await ann.ask('/api/terminals', {})).body as { id: string };
    const bob = await Pane.of(server.url, 'bob', chat);
    const code = async (tab: { closed: Promise<{ code: number; reason: string }> }) => await tab.closed;
    assert.equal((await code(ann.shell(id, { type: 'auth', token: 'wrong' }))).code, 4001);
    assert.equal((await code(ann.shell(id, { type: 'hello' }))).code, 4001);
    assert.equal((await code(ann.shell(id, { type: 'auth', token: bob.token }))).code, 4001);
    assert.deepEqual(await code(bob.shell(id)), { code: 4004, reason: 'There is no such terminal.' });
    assert.deepEqual(await code(ann.shell('term_none')), { code: 4004, reason: 'There is no such terminal.' });
    assert.deepEqual((await bob.ask(`/api/terminals/${id}`, undefined, 'DELETE')).body, {
      detail: 'There is no such terminal.',
    });
  });
});
