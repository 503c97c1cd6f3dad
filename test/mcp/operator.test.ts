import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { openSession } from '../support/raw.ts';
import { eventually } from '../support/run.ts';
import { ServerProcess } from '../support/server-process.ts';

const patience = { timeout: 120_000 };

async function run(server: ServerProcess, chat: string, args: Record<string, unknown>) {
  const headers = { 'x-openwebui-chat-id': chat };
  const session = await openSession({ url: server.url, mcp: `${server.url}/mcp` } as never, headers);
  return (await session.call('execute_command', args)).result?.structuredContent ?? {};
}

async function berth(server: ServerProcess, ...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const env = { ...process.env, BERTH_SERVER__STATE_DIR: server.stateDirectory };
  const program = ['--disable-warning=ExperimentalWarning', resolve('src/main.ts'), ...args];
  const ended = promisify(execFile)(process.execPath, program, { env, encoding: 'utf8' });
  return await ended.then(
    ({ stdout, stderr }) => ({ code: 0, out: stdout, err: stderr }),
    ({ code, stdout, stderr }) => ({ code, out: stdout, err: stderr }),
  );
}

test('the operator lists, stops and ends anybody’s sandboxes over the running server', patience, async () => {
  await using server = await ServerProcess.start();
  assert.equal((await berth(server, 'ps')).err, 'There is no sandbox.\n');
  await run(server, 'one', { command: 'head -c 3000000 /dev/urandom > file; sync file; sleep 600', wait: 0 });
  const list = async () => JSON.parse((await berth(server, 'ps', '--json')).out) as Record<string, unknown>[];
  await eventually(async () => Number((await list())[0]?.['disk']) >= 3_000_000, 60);
  const [found, ...more] = await list();
  const { sandbox, memory, cpu_seconds: cpu, disk, created, since, ...rest } = found ?? {};
  const named = { principal: 'anonymous', name: 'anonymous', template: 'data', state: 'running' };
  assert.deepEqual(
    [rest, more],
    [{ ...named, command: 'head -c 3000000 /dev/urandom > file; sync file; sleep 600' }, []],
  );
  assert.ok(Number(memory) > 100_000 && Number(cpu) > 0, `${memory} bytes, ${cpu} s`);
  assert.ok(Number(disk) < 100_000_000, String(disk));
  assert.ok(Date.parse(String(since)) >= Date.parse(String(created)));
  const handle = String(sandbox);
  assert.match((await berth(server, 'ps')).out, new RegExp(`^sandbox .*\n${handle}  anonymous  data .* sleep 600\n$`));

  assert.deepEqual(await berth(server, 'stop', handle), { code: 0, out: `stopped ${handle}\n`, err: '' });
  assert.deepEqual([(await list())[0]?.['state'], (await list())[0]?.['command']], ['idle', null]);
  assert.equal((await berth(server, 'stop', handle)).err, `berth: The sandbox ${handle} does not run.\n`);
  const woken = await run(server, 'one', { command: 'stat -c %s file' });
  assert.equal(woken['stdout'], '3000000\n');
  assert.match((woken['lost'] as string[]).join('\n'), /the operator stopped it/);

  assert.deepEqual(await berth(server, 'end', handle), { code: 0, out: `ended ${handle}\n`, err: '' });
  assert.deepEqual(await list(), []);
  const gone = `berth: HANDLE: expected a sandbox that berth ps shows, got "${handle}".\n`;
  for (const action of ['stop', 'end'])
    assert.deepEqual(await berth(server, action, handle), { code: 1, out: '', err: gone });
});

test('the operator’s socket is for the server’s user alone, and goes with the server', patience, async () => {
  await using server = await ServerProcess.start();
  assert.equal(statSync(join(server.stateDirectory, 'admin.sock')).mode & 0o777, 0o600);
  const none = `berth: No server runs with the state directory ${server.stateDirectory}.\n`;
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    await server.kill(signal);
    assert.deepEqual(await berth(server, 'ps'), { code: 1, out: '', err: none });
    await server.start();
    assert.equal((await berth(server, 'ps')).code, 0);
  }
});

test('SIGHUP takes over keys, goes on in a new audit file, and names what needs a restart', patience, async () => {
  const settings = (key: string, timeout: number) => {
    const sha256 = createHash('sha256').update(key).digest('hex');
    return JSON.stringify({ auth: { mode: 'keys', keys: [{ name: 'ann', sha256 }] }, session: { timeout } });
  };
  await using server = await ServerProcess.start();
  await server.kill('SIGTERM');
  const file = join(server.stateDirectory, 'berth.yaml');
  const audit = join(server.stateDirectory, 'audit.jsonl');
  writeFileSync(file, settings('first-key-of-ann-000', 600));
  server.change({ BERTH_CONFIG_FILE: file, BERTH_AUDIT__FILE: audit, BERTH_SECURITY__AUDIT_LOG: 'true' });
  await server.start();
  const statusFor = async (key: string) => {
    const headers = { authorization: `Bearer ${key}` };
    return (await fetch(`${server.url}/metrics`, { headers })).status;
  };
  const hangUp = async (event: string) => {
    server.events = [];
    process.kill(server.pid, 'SIGHUP');
    await eventually(() => server.events.includes(event), 30);
  };
  assert.deepEqual([await statusFor('first-key-of-ann-000'), await statusFor('second-key-of-ann-00')], [200, 401]);
  const line = { command: 'true' };
  const call = async () => {
    const headers = { authorization: 'Bearer second-key-of-ann-00' };
    const session = await openSession({ url: server.url, mcp: `${server.url}/mcp` } as never, headers);
    await session.call('execute_command', line);
  };
  writeFileSync(file, settings('second-key-of-ann-00', 700));
  await hangUp('settings.need_restart');
  assert.deepEqual([await statusFor('first-key-of-ann-000'), await statusFor('second-key-of-ann-00')], [401, 200]);
  await call();
  renameSync(audit, `${audit}.old`);
  await hangUp('settings.reloaded');
  await call();
  assert.ok(existsSync(audit) && statSync(audit).size > 0);
  writeFileSync(file, 'nonsense: [');
  await hangUp('settings.not_reloaded');
  assert.equal(await statusFor('second-key-of-ann-00'), 200);
});
