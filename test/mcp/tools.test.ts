import { createHash } from 'node:crypto';
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { modernCall, modernHeaders, openSession, post, request, type Message } from '../support/raw.ts';
import { startServer, type TestServer } from '../support/server.ts';

const text = (message: Message) => message.result?.content?.[0]?.text;
const fields = (message: Message) => message.result?.structuredContent ?? {};
const sha256 = (value: string | Uint8Array) => createHash('sha256').update(value).digest('hex');

async function withSession(
  work: (session: Awaited<ReturnType<typeof openSession>>, server: TestServer) => Promise<void>,
) {
  await using server = await startServer();
  await work(await openSession(server, { 'x-librechat-conversation-id': 'chat' }), server);
}

test('a command: every field, and a text that is enough by itself', () =>
  withSession(async (session) => {
    const answer = await session.call('execute_command', { command: 'echo out; err oops; exit 3' });
    assert.equal(text(answer), '[stdout]\nout\n[stderr]\noops\n[exit 3 · 0.05 s · /workspace]');
    assert.equal(answer.result?.isError, undefined);
    assert.deepEqual(fields(answer), {
      status: 'error',
      exit_code: 3,
      stdout: 'out\n',
      stderr: 'oops\n',
      stdout_encoding: 'utf-8',
      stderr_encoding: 'utf-8',
      command: 'echo out; err oops; exit 3',
      command_id: 'c1',
      execution_time: 0.05,
      cwd: '/workspace',
      truncated: false,
      stdout_size: 4,
      stderr_size: 5,
    });
  }));

test('one stream needs no label; none leaves the last line alone', () =>
  withSession(async (session) => {
    assert.equal(
      text(await session.call('execute_command', { command: 'err oops' })),
      'oops\n[exit 0 · 0.05 s · /workspace]',
    );
    assert.equal(text(await session.call('execute_command', { command: 'cd /tmp' })), '[exit 0 · 0.05 s · /tmp]');
  }));

test('a long output says how many bytes are left out', () =>
  withSession(async (session) => {
    const answer = await session.call('execute_command', { command: 'flood 1234577' });
    assert.equal(text(answer), 'head\n[… 1,234,567 bytes omitted …]\ntail\n[exit 0 · 0.05 s · /workspace]');
    assert.equal(fields(answer)['truncated'], true);
    assert.equal(fields(answer)['stdout_size'], 1234577);
  }));

test('bytes that are no UTF-8 are declared, and terminal escapes are stripped unless they are asked for', () =>
  withSession(async (session) => {
    const binary = await session.call('execute_command', { command: 'hex 61ff5c0a' });
    assert.equal(fields(binary)['stdout'], 'a\\xff\\\\\n');
    assert.equal(fields(binary)['stdout_encoding'], 'escaped');
    assert.equal(
      text(binary),
      'a\\xff\\\\\n[note: the output is not UTF-8: bytes are shown as \\xNN and backslashes are doubled]\n[exit 0 · 0.05 s · /workspace]',
    );
    const coloured = await session.call('execute_command', { command: 'hex 1b5b33316d7265641b5b306d0a' });
    assert.equal(fields(coloured)['stdout'], 'red\n');
    assert.equal(text(coloured), 'red\n[exit 0 · 0.05 s · /workspace]');
    const raw = await session.call('execute_command', { command: 'hex 1b5b33316d7265641b5b306d0a', raw: true });
    assert.equal(fields(raw)['stdout'], '\u001b[31mred\u001b[0m\n');
    assert.equal(text(raw), '\u001b[31mred\u001b[0m\n[exit 0 · 0.05 s · /workspace]');
    const bar = await session.call('execute_command', { command: 'hex 2031250d313030250a' });
    assert.match(text(bar) ?? '', /^100%\n\[exit 0/);
    assert.equal(bar.result?.structuredContent?.['stdout'], ' 1%\r100%\n');
  }));

test('a command that takes long is followed, paged and stopped', () =>
  withSession(async (session) => {
    const early = await session.call('execute_command', { command: 'sleep 30', wait: 0.01 });
    assert.equal(text(early), '[running · command_id c1 · 0.05 s · /workspace]');
    const stopped = await session.call('stop_command', { command_id: 'c1', signal: 'TERM' });
    assert.equal(fields(stopped)['status'], 'cancelled');
    const done = await session.call('execute_command', { command: 'echo 日本', wait: 5 });
    assert.equal(fields(done)['status'], 'success');
    const page = await session.call('check_command', { command_id: 'c2', offset: 3 });
    assert.equal(text(page), '本\n[exit 0 · 0.05 s · /workspace · next_offset 7 · next_stderr_offset 0]');
    assert.equal(fields(page)['next_offset'], 7);
    const unknown = await session.call('check_command', { command_id: 'c9' });
    assert.equal(text(unknown), 'No command "c9" is known here.\n[error · not_found]');
    assert.equal(unknown.result?.isError, true);
  }));

test('reset_session has three scopes', () =>
  withSession(async (session, server) => {
    await session.call('execute_command', { command: 'cd /tmp' });
    assert.equal(
      text(await session.call('reset_session')),
      'A clean shell runs; files and terminals are as they were.\n[reset]',
    );
    assert.equal(text(await session.call('get_working_directory')), '/workspace\n[working directory]');
    await session.call('reset_session', { scope: 'workspace' });
    assert.equal(server.sandboxes.calls.at(-1), 'recreate workspace anonymous conversation:chat');
  }));

test('files go up and come down as text and as bytes', () =>
  withSession(async (session) => {
    const up = await session.call('upload_file', { path: 'a.txt', content: 'grüß\n' });
    assert.deepEqual(fields(up), { path: '/workspace/a.txt', size: 7, sha256: sha256('grüß\n') });
    assert.equal(text(up), `Wrote /workspace/a.txt, sha256 ${sha256('grüß\n')}.\n[written · 7 bytes]`);
    const down = await session.call('download_file', { path: 'a.txt' });
    assert.equal(text(down), `grüß\n[/workspace/a.txt · utf-8 · 7 bytes · sha256 ${sha256('grüß\n')}]`);
    const part = await session.call('download_file', { path: 'a.txt', length: 5 });
    const { content, truncated, next_offset, encoding } = fields(part);
    assert.deepEqual([content, truncated, next_offset, encoding], ['grü', true, 4, 'utf-8']);
    await session.call('upload_file', { path: 'b', content: 'AP8=', encoding: 'base64' });
    const bytes = await session.call('download_file', { path: 'b' });
    assert.deepEqual(
      [fields(bytes)['content'], fields(bytes)['encoding'], fields(bytes)['size']],
      ['AP8=', 'base64', 2],
    );
    const refused = await session.call('download_file', { path: 'b', encoding: 'utf-8' });
    assert.equal(
      text(refused),
      '`encoding` must be base64 here: /workspace/b is not UTF-8 text.\n[error · invalid_argument]',
    );
    const inside = await session.call('download_file', { path: 'a.txt', encoding: 'utf-8', offset: 3 });
    assert.equal(
      text(inside),
      '`offset` must be the first byte of a character for utf-8: 3 is inside one, the next begins at 4.\n[error · invalid_argument]',
    );
    const past = await session.call('download_file', { path: 'a.txt', offset: 100 });
    assert.deepEqual([fields(past)['content'], fields(past)['truncated']], ['', false]);
  }));

for (const [content, message] of [
  ['AP8', '`content` must be base64 of a multiple of 4 characters, got 3.'],
  ['AP8*', '`content` must be base64, got "*" at character 4.'],
  ['A=8=', '`content` must be base64, got "=" at character 2.'],
] as const)
  test(`the base64 ${content} is refused and nothing is written`, () =>
    withSession(async (session) => {
      const answer = await session.call('upload_file', { path: 'c', content, encoding: 'base64' });
      assert.equal(text(answer), `${message}\n[error · invalid_argument]`);
      assert.equal((await session.call('download_file', { path: 'c' })).result?.isError, true);
    }));

test('a picture comes as image and as resource, on request', () =>
  withSession(async (session) => {
    const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC';
    await session.call('upload_file', { path: 'ä b.png', content: png, encoding: 'base64' });
    const answer = await session.call('download_file', { path: 'ä b.png', as_image: true });
    assert.deepEqual(answer.result?.content, [
      { type: 'text', text: 'The picture /workspace/ä b.png is attached.\n[image/png · 69 bytes]' },
      { type: 'image', data: png, mimeType: 'image/png' },
      { type: 'resource', resource: { uri: 'file:///workspace/%C3%A4%20b.png', mimeType: 'image/png', blob: png } },
    ]);
    await session.call('upload_file', { path: 'no.png', content: 'text' });
    const refused = await session.call('download_file', { path: 'no.png', as_image: true });
    assert.equal(
      text(refused),
      '`as_image` needs a PNG, JPEG, GIF or WebP file, and /workspace/no.png is none.\n[error · invalid_argument]',
    );
  }));

test('a listing reads like ls', () =>
  withSession(async (session) => {
    await session.call('upload_file', { path: 'a.txt', content: 'x'.repeat(2048) });
    const answer = await session.call('list_files');
    assert.equal(text(answer), '-rw-r--r--    2.0 KiB  2023-11-14 22:13  a.txt\n[1 entry · /workspace]');
    assert.deepEqual(fields(answer), {
      path: '/workspace',
      entries: [{ path: 'a.txt', type: 'file', size: 2048, mtime: '2023-11-14T22:13:20.000Z', mode: '0644' }],
      truncated: false,
    });
  }));

test('an edit shows the lines around it', () =>
  withSession(async (session) => {
    await session.call('upload_file', { path: 'a.py', content: 'a = 1\nb = 2\n' });
    const answer = await session.call('edit_file', { path: 'a.py', old_text: 'b = 2', new_text: 'b = 3' });
    assert.equal(text(answer), '    1  a = 1\n    2  b = 3\n[1 replacement · /workspace/a.py]');
    assert.equal(fields(answer)['count'], 1);
  }));

test('a terminal is opened, typed into, read, resized, listed and closed', () =>
  withSession(async (session) => {
    const opened = await session.call('start_shell_session', { cols: 100, rows: 30, command: 'vim' });
    const sessionId = fields(opened)['sessionId'];
    assert.equal(
      text(opened),
      `Terminal ${String(sessionId)} is open; sessionId ${String(sessionId)}.\n[terminal · 100×30 · vim]`,
    );
    await session.call('send_shell_input', { sessionId, input: 'ihello', raw: true, keys: ['escape'] });
    const read = await session.call('read_shell_output', { sessionId });
    assert.equal(fields(read)['output'], 'ihello<escape>');
    assert.deepEqual(fields(read)['metadata'], {
      mode: 'streaming',
      totalBytesReceived: 14,
      truncated: false,
      originalSize: 14,
      isSnapshot: false,
      cursor: { row: 0, col: 0 },
      size: { rows: 30, cols: 100 },
      alternateScreen: false,
      dropped: 0,
      exited: false,
      exitCode: null,
    });
    assert.equal(text(read), 'ihello<escape>\n[streaming · 100×30 · open]');
    const empty = await session.call('send_shell_input', { sessionId });
    assert.equal(
      text(empty),
      '`input` or `keys` is required by send_shell_input: expected one of them, got neither.\n[error · invalid_argument]',
    );
    await session.call('resize_shell_session', { sessionId, cols: 80, rows: 24 });
    const listed = await session.call('list_shell_sessions');
    assert.equal(text(listed), `${String(sessionId)}  80×24  open  vim\n[1 terminal]`);
    assert.equal(
      text(await session.call('end_shell_session', { sessionId })),
      `Terminal ${String(sessionId)} is closed.\n[closed · exit 0]`,
    );
  }));

test('sandboxes are made, listed, looked at and removed', () =>
  withSession(async (session) => {
    assert.equal(
      text(await session.call('sandbox_status')),
      'You have no sandbox yet; the first command starts one.\n[none]',
    );
    assert.equal(text(await session.call('list_shell_sessions')), '[0 terminals]');
    assert.equal(text(await session.call('list_sandboxes')), '[0 sandboxes]');
    const made = await session.call('create_sandbox', { template: 'base' });
    assert.deepEqual(fields(made), {
      sandbox: 'sb-fake-1',
      template: 'base',
      state: 'running',
      created: '1970-01-01T00:00:00.000Z',
      expires: null,
    });
    const status = await session.call('sandbox_status', { sandbox: 'sb-fake-1' });
    assert.deepEqual(fields(status)['usage'], {
      memory: 1048576,
      pids: 3,
      processes: 2,
      terminals: 0,
      cpu_seconds: 0.5,
    });
    assert.match(text(status) ?? '', /^memory: 1\.0 MiB of 1\.0 GiB$/m);
    assert.match(text(status) ?? '', /\n\[sb-fake-1 · running\]$/);
    assert.equal(
      text(await session.call('end_sandbox', { sandbox: 'sb-fake-1' })),
      'The sandbox and its files are gone.\n[ended]',
    );
    const unknown = await session.call('create_sandbox', { template: 'missing' });
    assert.equal(text(unknown), 'There is no template "missing".\n[error · not_found]');
  }));

test('what was lost at a wake is told once', () =>
  withSession(async (session, server) => {
    server.sandboxes.lost = ['A background job had ended.'];
    const first = await session.call('execute_command', { command: 'echo hi' });
    assert.equal(text(first), 'hi\n[note: A background job had ended.]\n[exit 0 · 0.05 s · /workspace]');
    assert.deepEqual(fields(first)['lost'], ['A background job had ended.']);
    assert.equal(
      text(await session.call('execute_command', { command: 'echo hi' })),
      'hi\n[exit 0 · 0.05 s · /workspace]',
    );
  }));

test('an unexpected error is told without anything of its text, and logged whole', () =>
  withSession(async (session, server) => {
    server.sandboxes.acquire = () => Promise.reject(new Error('ENOENT /root/secret/path'));
    const answer = await session.call('execute_command', { command: 'echo hi' });
    assert.equal(text(answer), 'The server met an unexpected error; its log says more.\n[error · internal]');
    assert.ok(server.logged.some((line) => JSON.stringify(line).includes('/root/secret/path')));
  }));

test('an unknown tool is an error of the protocol', () =>
  withSession(async (session) => {
    const answer = await session.call('delete_everything');
    assert.deepEqual(answer.error, { code: -32602, message: 'There is no tool named "delete_everything".' });
  }));

for (const [args, came] of [
  [[], 'an array'],
  ['{"path":"."}', String.raw`"{\"path\":\".\"}"`],
  [5, '5'],
  [null, undefined],
] as const)
  test(`arguments that are ${JSON.stringify(args)} are ${came ? 'one sentence' : 'none'}, in both eras`, () =>
    withSession(async (session, server) => {
      const call = request('tools/call', { name: 'list_files', arguments: args });
      const modern = modernCall('list_files');
      const params = { ...modern.params, arguments: args };
      const answers = [
        await session.post(call),
        await post(server.mcp, { ...modern, params }, modernHeaders('list_files')),
      ];
      const message = `\`arguments\` must be an object, got ${came}.`;
      for (const [at, { status, messages }] of answers.entries()) {
        assert.equal(status, 200);
        assert.deepEqual(messages[0]?.error, came && { code: -32602, message });
        assert.equal(messages[0]?.id, [call, modern][at]?.id);
        assert.equal(messages[0]?.result?.isError, undefined);
      }
    }));

test('leases balance', () =>
  withSession(async (session, server) => {
    await Promise.all([1, 2, 3].map(() => session.call('execute_command', { command: 'sleep 0.05' })));
    await session.call('check_command', { command_id: 'none' });
    assert.equal(server.sandboxes.leases, 0);
  }));

test('tools.enabled chooses; a name nobody has stops the start', async () => {
  await using server = await startServer({ config: { tools: { enabled: 'execute_command,list_files' } } });
  const session = await openSession(server);
  const { messages } = await session.post(request('tools/list'));
  const { tools } = messages[0]!.result as unknown as { tools: { name: string }[] };
  assert.deepEqual(
    tools.map((tool) => tool.name),
    ['execute_command', 'list_files'],
  );
  assert.equal((await session.call('edit_file')).error?.code, -32602);
  await assert.rejects(
    startServer({ config: { tools: { enabled: 'list_file' } } }),
    /^ConfigError: tools\.enabled: expected names of tools, got "list_file"$/,
  );
});
