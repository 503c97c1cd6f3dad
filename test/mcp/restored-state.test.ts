import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import Docker from 'dockerode';
import { openSession, type RawSession } from '../support/raw.ts';
import { eventually } from '../support/run.ts';
import { ServerProcess } from '../support/server-process.ts';

const patience = { timeout: 120_000 };
const docker = new Docker();

async function call(
  server: ServerProcess,
  chat: string,
  tool: string,
  args: Record<string, unknown>,
): Promise<Record<string, unknown>> {
  const headers = { 'x-openwebui-chat-id': chat };
  const session: RawSession = await openSession({ url: server.url, mcp: `${server.url}/mcp` } as never, headers);
  const { result } = await session.call(tool, args);
  return result?.structuredContent ?? {};
}

const run = (server: ServerProcess, chat: string, command: string) =>
  call(server, chat, 'execute_command', { command });

async function berth(server: ServerProcess, args: string[]): Promise<string> {
  const env = { ...process.env, BERTH_SERVER__STATE_DIR: server.stateDirectory };
  const run = promisify(execFile);
  return (await run(process.execPath, [resolve('src/main.ts'), ...args], { env, encoding: 'utf8' })).stdout;
}

async function belongings(server: ServerProcess): Promise<{ containers: string[]; volumes: string[] }> {
  const filters = { label: [`berth.instance=${await server.instance()}`] };
  const [containers, { Volumes }] = await Promise.all([
    docker.listContainers({ all: true, filters }),
    docker.listVolumes({ filters }),
  ]);
  return {
    containers: containers.map(({ Names, State }) => `${Names[0]} ${State}`).toSorted(),
    volumes: Volumes.map(({ Name }) => Name).toSorted(),
  };
}

/** Resolves when it has a ready sandbox. */
const isReady = (server: ServerProcess) => eventually(() => server.events.includes('warm.ready'), 30);

function copyState(from: string, to: string): void {
  copyFileSync(join(from, 'state.sqlite'), join(to, 'state.sqlite'));
}

/** What `docker system prune --volumes` does to what rests here, and to nobody else's. */
async function prune(server: ServerProcess): Promise<void> {
  const filters = { label: [`berth.instance=${await server.instance()}`] };
  for (const { Id } of await docker.listContainers({ all: true, filters }))
    await docker.getContainer(Id).remove({ force: true });
  for (const { Name } of (await docker.listVolumes({ filters })).Volumes) await docker.getVolume(Name).remove();
}

for (const quota of ['auto', 'watch'])
  test(`a server on a restored state keeps what that does not know (quota ${quota})`, patience, async () => {
    await using server = await ServerProcess.start({ BERTH_WORKSPACE__QUOTA: quota });
    await using copy = await ServerProcess.start();
    await copy.kill('SIGTERM');
    await run(server, 'old', 'echo old > file');
    await server.kill('SIGTERM');
    copyState(server.stateDirectory, copy.stateDirectory);
    await server.start();
    await run(server, 'new', 'echo new > file; sleep 600 &');
    await server.kill('SIGTERM');
    const before = await belongings(server);
    copyState(copy.stateDirectory, server.stateDirectory);
    await server.start();
    assert.equal((await run(server, 'old', 'cat file'))['stdout'], 'old\n');
    assert.deepEqual(await belongings(server), before);
    assert.equal(before.containers.length, 2);
    const cli = (...args: string[]) => berth(server, ['workspace', ...args]);
    const [unknown, ...more] = (await cli('list')).split('\n').filter(Boolean);
    assert.deepEqual([before.volumes.includes(unknown ?? ''), more], [true, []]);
    const name = unknown ?? '';
    await assert.rejects(cli('adopt', name, '--owner', 'anonymous', '--template', 'dat'), {
      stderr: /--template: expected one of data, base, got "dat"\.\n/,
    });
    const handle = (await cli('adopt', name, '--owner', 'anonymous')).trim();
    assert.equal(await cli('list'), '');
    const adopted = await call(server, 'old', 'execute_command', { command: 'cat file', sandbox: handle });
    assert.equal(adopted['stdout'], 'new\n');
    await call(server, 'old', 'end_sandbox', { sandbox: handle });
    assert.equal((await belongings(server)).volumes.length, before.volumes.length - 1);
  });

test('the operator prunes an unknown workspace with its container, and no other', patience, async () => {
  await using server = await ServerProcess.start();
  await using copy = await ServerProcess.start();
  await copy.kill('SIGTERM');
  await server.kill('SIGTERM');
  copyState(server.stateDirectory, copy.stateDirectory);
  await server.start();
  await run(server, 'new', 'sleep 600 &');
  const { volumes } = await belongings(server);
  const refused = { stderr: /NAME: expected a workspace that berth workspace list shows, got "/ };
  await assert.rejects(berth(server, ['workspace', 'prune', volumes[0] ?? '']), refused);
  await server.kill('SIGTERM');
  copyState(copy.stateDirectory, server.stateDirectory);
  assert.equal(await berth(server, ['workspace', 'prune', volumes[0] ?? '']), `removed ${volumes[0]}\n`);
  assert.deepEqual(await belongings(server), { containers: [], volumes: [] });
});

for (const [what, tool, args] of [['ran a command', 'execute_command', { command: 'export SECRET=1' }]] as const)
  test(`a restored state does not give a sandbox in which somebody ${what} to another`, patience, async () => {
    await using server = await ServerProcess.start({ BERTH_TEMPLATES__DATA__WARM: '1' });
    await using copy = await ServerProcess.start();
    await copy.kill('SIGTERM');
    await isReady(server);
    await server.kill('SIGTERM');
    copyState(server.stateDirectory, copy.stateDirectory);
    await server.start();
    await isReady(server);
    await call(server, 'first', tool, args);
    await server.kill('SIGTERM');
    const before = await belongings(server);
    copyState(copy.stateDirectory, server.stateDirectory);
    await server.start();
    await eventually(() => ['warm.not_ours', 'warm.ready'].some((event) => server.events.includes(event)), 30);
    for (const chat of ['second', 'third'])
      assert.equal((await run(server, chat, 'ls /workspace/file 2>/dev/null; echo $SECRET'))['stdout'], '\n');
    const after = await belongings(server);
    assert.deepEqual(
      before.volumes.filter((name) => !after.volumes.includes(name)),
      [],
    );
  });

for (const quota of ['watch', 'tmpfs'])
  test(`a wake without its files says that they are lost (quota ${quota})`, patience, async () => {
    await using server = await ServerProcess.start({ BERTH_WORKSPACE__QUOTA: quota });
    await run(server, 'chat', 'echo precious > file');
    await server.kill('SIGTERM');
    await prune(server);
    await server.start();
    const { stdout, lost } = await run(server, 'chat', 'ls');
    const told = (lost as string[]).join('\n');
    assert.equal(stdout, '');
    assert.match(told, /its container ended while the server was down: .* and \/tmp are gone\.\n/);
    assert.match(told, /The files under \/workspace are lost: the volume .* is empty now\./);
    assert.doesNotMatch(told, /are kept/);
  });

test('a restart keeps a ready sandbox that nobody has used', patience, async () => {
  await using server = await ServerProcess.start({ BERTH_TEMPLATES__DATA__WARM: '1' });
  const ready = async () => (await belongings(server)).containers.filter((one) => one.endsWith('running'));
  await isReady(server);
  await server.kill('SIGTERM');
  const before = await ready();
  await server.start();
  await isReady(server);
  await run(server, 'first', 'true');
  assert.ok((await ready()).includes(before[0] ?? ''));
  const { sandboxes } = (await call(server, 'first', 'list_sandboxes', {})) as { sandboxes: { sandbox: string }[] };
  assert.match(before[0] ?? '', new RegExp(sandboxes[0]?.sandbox ?? 'none'));
});
