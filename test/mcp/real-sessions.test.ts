import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { engine } from '../support/docker-runtime.ts';
import { modernCall, modernHeaders, openSession, post, request, type RawSession } from '../support/raw.ts';
import { ServerProcess } from '../support/server-process.ts';

/** Sessions, conversations and cancellation on real containers. */

let server: ServerProcess;
before(async () => {
  server = await ServerProcess.start({ BERTH_SESSION__TEMPLATE: 'base' });
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

const open = (headers: Record<string, string> = {}) => openSession({ mcp: `${server.url}/mcp` }, headers);

async function handleOf(session: RawSession): Promise<string> {
  const { result } = await session.call('sandbox_status');
  return String(result?.structuredContent?.['sandbox'] ?? 'none');
}

/** Containers of a sandbox, running or not. */
async function containers(handle: string): Promise<string[]> {
  const found = await engine().listContainers({ all: true, filters: { label: [`berth.sandbox=${handle}`] } });
  return found.map(({ State }) => State);
}

async function run(session: RawSession, command: string): Promise<string> {
  const { result } = await session.call('execute_command', { command });
  return String(result?.structuredContent?.['stdout']);
}

async function eventually(check: () => Promise<boolean>, what: string): Promise<void> {
  for (const end = Date.now() + 10_000; !(await check()); await new Promise((done) => setTimeout(done, 50)))
    assert.ok(Date.now() < end, what);
}

test('initialize and tools/list make no container; twenty first calls together make one', async () => {
  const session = await open();
  await session.post(request('tools/list'));
  assert.equal(await handleOf(session), 'none');
  const answers = await Promise.all(Array.from({ length: 20 }, () => run(session, 'echo $$')));
  assert.equal(new Set(answers).size, 1);
  assert.deepEqual(await containers(await handleOf(session)), ['running']);
});

test('DELETE removes the container that was the session’s own', async () => {
  const session = await open();
  await run(session, 'true');
  const handle = await handleOf(session);
  assert.equal((await session.delete()).status, 200);
  await eventually(async () => (await containers(handle)).length === 0, 'the container to be removed');
});

test('DELETE interrupts a conversation’s command and keeps its shell for the next session', async () => {
  const chat = { 'x-librechat-conversation-id': 'chat-1' };
  const first = await open(chat);
  await run(first, 'export KEPT=1; cd /tmp');
  const pending = first
    .call('execute_command', { command: 'touch /workspace/started; sleep 300' })
    .catch(() => undefined);
  const second = await open(chat);
  await eventually(() => exists(second, 'started'), 'the command to run');
  await first.delete();
  await pending;
  assert.equal(await run(second, 'echo $KEPT $PWD'), '1 /tmp\n');
});

/** The shell is busy; files are looked at beside it. */
async function exists(session: RawSession, path: string): Promise<boolean> {
  return (await session.call('download_file', { path })).result?.isError !== true;
}

test('a dropped connection leaves a 2025 command alone and interrupts a 2026 one', async () => {
  const old = await open();
  const drop = new AbortController();
  const left = old.post(
    request('tools/call', { name: 'execute_command', arguments: { command: 'sleep 1; echo ran > /workspace/old' } }),
    {},
    drop.signal,
  );
  setTimeout(() => drop.abort(), 300);
  await assert.rejects(left);
  assert.equal(await run(old, 'cat /workspace/old'), 'ran\n');

  const chat = { 'x-librechat-conversation-id': 'chat-2' };
  const modern = await open(chat);
  await run(modern, 'true');
  const abort = new AbortController();
  const call = modernCall('execute_command', { command: 'sleep 300; echo ran > /workspace/modern' });
  const pending = post(`${server.url}/mcp`, call, { ...modernHeaders('execute_command'), ...chat }, abort.signal);
  setTimeout(() => abort.abort(), 300);
  await assert.rejects(pending);
  assert.equal(await run(modern, 'cat /workspace/modern; echo $?'), '1\n');
});

test('a sandbox made by hand is reached by its handle in both eras, and ended', async () => {
  const session = await open();
  const made = await session.call('create_sandbox', { template: 'base' });
  const sandbox = String(made.result?.structuredContent?.['sandbox']);
  await session.call('execute_command', { command: 'export MADE=1', sandbox });
  const modern = await post(
    `${server.url}/mcp`,
    modernCall('execute_command', { command: 'echo $MADE', sandbox }),
    modernHeaders('execute_command'),
  );
  assert.equal(modern.messages.at(-1)?.result?.structuredContent?.['stdout'], '1\n');
  await session.call('end_sandbox', { sandbox });
  assert.deepEqual(await containers(sandbox), []);
  const gone = await session.call('execute_command', { command: 'true', sandbox });
  assert.equal(gone.result?.structuredContent?.['code'], 'not_found');
});
