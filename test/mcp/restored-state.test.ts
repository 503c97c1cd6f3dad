import assert from 'node:assert/strict';
import { copyFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import Docker from 'dockerode';
import { openSession, type RawSession } from '../support/raw.ts';
import { ServerProcess } from '../support/server-process.ts';

const patience = { timeout: 120_000 };
const docker = new Docker();

async function run(server: ServerProcess, chat: string, command: string): Promise<Record<string, unknown>> {
  const session: RawSession = await openSession({ url: server.url, mcp: `${server.url}/mcp` } as never, {
    'x-openwebui-chat-id': chat,
  });
  const { result } = await session.call('execute_command', { command });
  return result?.structuredContent ?? {};
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

function copyState(from: string, to: string): void {
  for (const file of readdirSync(from))
    if (/^state\.sqlite$/.test(file)) copyFileSync(join(from, file), join(to, file));
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
