import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { ServerProcess } from '../support/server-process.ts';

const isRoot = process.getuid?.() === 0;
const chat = { 'X-OpenWebUI-Chat-Id': 'isolation' };

const settings = {
  BERTH_SESSION__TEMPLATE: 'web',
  BERTH_TEMPLATES__WEB__IMAGE: 'berth/base:latest',
  BERTH_TEMPLATES__WEB__NETWORK: 'allow-list',
  BERTH_TEMPLATES__WEB__ALLOW_HOSTS: 'files.example.org,*.example.org',
  BERTH_TEMPLATES__WEB__DISK: '32MiB',
  BERTH_TEMPLATES__WEB__MEMORY: '128MiB',
};

/** The structured fields of a tool's answer, and its text. */
async function callTool(url: string, name: string, args: Record<string, unknown>): Promise<Record<string, unknown>> {
  const client = new Client({ name: 'isolation', version: '1' });
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { requestInit: { headers: chat } }));
  try {
    const result = await client.callTool({ name, arguments: args });
    const texts = (result.content as { text?: string }[]).map(({ text }) => text ?? '');
    return { ...(result.structuredContent as Record<string, unknown>), text: texts.join('\n') };
  } finally {
    await client.close();
  }
}

describe('a sandbox of a real server', { timeout: 120_000 }, () => {
  let server: ServerProcess;

  const call = (name: string, args: Record<string, unknown>) => callTool(server.url, name, args);
  const causeOf = async (command: string) => {
    const { cause, cause_message: message, text } = await call('execute_command', { command });
    if (message !== undefined) assert.ok(String(text).includes(String(message)), 'the model reads it, too');
    return [cause, message];
  };
  const evil = [
    'egress_denied',
    'evil.example:443 was refused: sandboxes of the template web may reach only files.example.org, *.example.org.',
  ];

  before(async () => {
    server = await ServerProcess.start(settings);
  });
  after(() => server[Symbol.asyncDispose]());

  test('says which host was refused', async () => {
    assert.deepEqual(await causeOf('curl -sS https://evil.example/'), evil);
    assert.deepEqual(await causeOf('curl -sSf http://10.0.0.1/'), [
      'egress_denied',
      '10.0.0.1:80 was refused: sandboxes of the template web may reach only files.example.org, *.example.org.',
    ]);
  });

  test('says that memory ran out', async () => {
    const [code, message] = await causeOf('python3 -c "x = bytearray(400 << 20)"');
    assert.equal(code, 'out_of_memory');
    assert.match(String(message), /its limit is 128 MiB/);
  });

  test('says what bounds it, and that the disk is full', { skip: !isRoot && 'needs a bounded workspace' }, async () => {
    const status = await call('sandbox_status', {});
    assert.notEqual(status['disk_quota'], 'none');
    assert.equal((status['limits'] as Record<string, number>)['disk'], 32 * 1024 ** 2);
    assert.equal(status['network'], 'allow-list (files.example.org, *.example.org)');
    const [code, message] = await causeOf('mkdir -p big && head -c 64M /dev/zero > big/file');
    assert.equal(code, 'disk_full');
    assert.match(String(message), /^\/workspace is full: .* The biggest directories are \/workspace\/big \(\d+ MiB\)/);
    assert.deepEqual(await causeOf('rm -r big && echo kept > note'), [undefined, undefined]);
  });

  test('is held as before by the next server', async () => {
    await call('execute_command', { command: 'here=1' });
    await server.kill('SIGKILL');
    await server.start();
    const { stdout } = await call('execute_command', { command: 'echo $here; cat note 2> /dev/null' });
    assert.equal(stdout, isRoot ? '1\nkept\n' : '1\n');
    assert.deepEqual(await causeOf('curl -sS https://evil.example/'), evil);
  });

  test('is held as before after it was started anew', async () => {
    await call('reset_session', { scope: 'container' });
    assert.deepEqual(await causeOf('curl -sS https://evil.example/'), evil);
  });
});

test('a sandbox that outgrows what nothing bounds is stopped, and told why', { timeout: 60_000 }, async () => {
  await using server = await ServerProcess.start({
    BERTH_SESSION__TEMPLATE: 'base',
    BERTH_TEMPLATES__BASE__DISK: '16MiB',
    BERTH_WORKSPACE__QUOTA: 'watch',
    BERTH_WORKSPACE__WATCH_INTERVAL: '5',
  });
  const command = 'echo small > note; head -c 24M /dev/zero > big; sleep 30';
  const { status } = await callTool(server.url, 'execute_command', { command });
  assert.equal(status, 'sandbox_lost');
  const { text, stdout } = await callTool(server.url, 'execute_command', { command: 'cat note; ls' });
  assert.equal(stdout, 'small\nbig\nnote\n', String(text));
  assert.match(String(text), /started anew because its workspace held 25 MiB, more than its 16 MiB:/);
});

test('a sandbox is not started where the host’s disk is nearly full', { timeout: 60_000 }, async () => {
  await using server = await ServerProcess.start({ BERTH_WORKSPACE__RESERVE: String(2 ** 52) });
  const { text } = await callTool(server.url, 'execute_command', { command: 'true' });
  assert.match(
    String(text),
    /^The host has \d+ MiB of disk left, less than its reserve of 4294967296 MiB, so no sandbox is started/,
  );
});
