import assert from 'node:assert/strict';
import { test } from 'node:test';
import Docker from 'dockerode';
import { openSession, type RawSession } from '../support/raw.ts';
import { eventually } from '../support/run.ts';
import { ServerProcess } from '../support/server-process.ts';

const patience = { timeout: 120_000 };
const brief = { BERTH_SESSION__TIMEOUT: '1', BERTH_SESSION__CLEANUP_INTERVAL: '1' };
const chat = { 'x-openwebui-chat-id': 'idle' };

async function session(server: ServerProcess): Promise<RawSession> {
  return await openSession({ url: server.url, mcp: `${server.url}/mcp` } as never, chat);
}

async function run(client: RawSession, command: string): Promise<{ stdout: unknown; lost: unknown; text: string }> {
  const { result } = await client.call('execute_command', { command });
  const { stdout, lost } = result?.structuredContent ?? {};
  return { stdout, lost, text: result?.content?.[0]?.text ?? '' };
}

/** What the server says of the caller's only sandbox. */
async function stateOf(client: RawSession): Promise<unknown> {
  const { result } = await client.call('list_sandboxes', {});
  const sandboxes = result?.structuredContent?.['sandboxes'] as { state: unknown }[] | undefined;
  return sandboxes?.[0]?.state;
}

/** The states of the server's containers. */
async function containers(server: ServerProcess): Promise<string[]> {
  const filters = { label: [`berth.instance=${await server.instance()}`] };
  return (await new Docker().listContainers({ all: true, filters })).map(({ State }) => State);
}

const setUp = [
  'mkdir -p "a dir" && cd "a dir"',
  "export NAME=$'two\\nlines'",
  'list=(one "two three")',
  'greet() { echo "hello $1"; }',
  'shopt -s expand_aliases; alias hey="greet you"',
  'set -o noclobber; umask 027',
  'touch /tmp/gone',
].join('\n');

const look = [
  'echo "$PWD|$NAME|${list[1]}|$(greet me)|$(umask)|$(set -o | grep noclobber | tr -s " \\t" " ")"',
  'hey; ls /tmp',
].join('\n');

const back = '/workspace/a dir|two\nlines|two three|hello me|0027|noclobber on\nhello you\n';

for (const [what, env, left] of [
  ['stopped', {}, ['exited']],
  ['removed', { BERTH_SESSION__REMOVE_AFTER: '0' }, []],
] as const)
  test(`a sandbox that was ${what} when idle goes on in the same shell, and says what is gone`, patience, async () => {
    await using server = await ServerProcess.start({ ...brief, ...env });
    const before = await session(server);
    await run(before, setUp);
    await eventually(async () => (await stateOf(before)) === 'idle', 30);
    assert.deepEqual(await containers(server), left);
    await server.kill('SIGKILL');
    server.change({ BERTH_SESSION__TIMEOUT: '3600' });
    await server.start();
    const { stdout, lost } = await run(await session(server), look);
    assert.equal(stdout, back);
    assert.match(
      (lost as string[]).join('\n'),
      /^The sandbox was started anew because it was idle for \d+ s: background processes, terminals and \/tmp are gone; the files under \/workspace are kept\.\nThe shell goes on in its directory, with its variables, functions and options as far as they fit in 1 MiB\.$/,
    );
    assert.equal((await run(await session(server), 'echo $NAME | wc -l')).lost, undefined);
  });
