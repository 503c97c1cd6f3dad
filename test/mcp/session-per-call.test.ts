import { test } from 'node:test';
import assert from 'node:assert/strict';
import { openSession, type Message } from '../support/raw.ts';
import { ServerProcess } from '../support/server-process.ts';
import { startServer, type TestServer } from '../support/server.ts';

const note = /this sandbox belongs to this MCP session alone; .*: pass sandbox "([^"]+)" from now on/;

/** The sandbox that an answer says the call before may have used. */
const toldIn = (message: Message) => note.exec(message.result?.content?.[0]?.text ?? '')?.[1];

type At = Pick<TestServer, 'mcp'>;

/** One call in a session of its own, as clients make it that open one per call. */
async function oneCall(server: At, args: object, headers: Record<string, string> = {}) {
  const session = await openSession(server, headers);
  const answer = await session.call('execute_command', args);
  await session.delete();
  return answer;
}

test('a client with a session per call is told where its files are, and goes on there', async () => {
  await using server = await ServerProcess.start({ BERTH_SESSION__TEMPLATE: 'base' });
  const at = { mcp: `${server.url}/mcp` };
  const first = await oneCall(at, { command: 'echo kept > file' });
  assert.equal(toldIn(first), undefined);
  const lost = await oneCall(at, { command: 'cat file' });
  assert.equal(lost.result?.structuredContent?.['exit_code'], 1);
  assert.match(String(lost.result?.structuredContent?.['notes']), note);
  const sandbox = toldIn(lost);
  const found = await oneCall(at, { command: 'cat file', sandbox });
  assert.equal(found.result?.structuredContent?.['stdout'], 'kept\n', JSON.stringify(found));
  assert.equal(toldIn(found), undefined);
});

test('a session that is used on hears nothing, and is no session per call', async () => {
  await using server = await startServer();
  const first = await openSession(server);
  for (let call = 0; call < 3; call++)
    assert.equal(toldIn(await first.call('execute_command', { command: 'true' })), undefined);
  assert.equal(toldIn(await oneCall(server, { command: 'true' })), undefined);
  assert.equal(toldIn(await first.call('execute_command', { command: 'true' })), undefined);
});

test('a conversation, and one sandbox for the principal, have nothing to be told', async () => {
  await using server = await startServer();
  const chat = { 'x-librechat-conversation-id': 'c' };
  await oneCall(server, { command: 'true' });
  assert.equal(toldIn(await oneCall(server, { command: 'true' }, chat)), undefined);
  await using one = await startServer({ config: { session: { scope: 'principal' } } });
  await oneCall(one, { command: 'true' });
  assert.equal(toldIn(await oneCall(one, { command: 'true' })), undefined);
});

test('another principal is told nothing', async () => {
  const keys = 'ann=ann-key-0123456789,bob=bob-key-0123456789';
  await using server = await startServer({ config: { auth: { mode: 'keys', keys } } });
  const as = (key: string) => ({ authorization: `Bearer ${key}` });
  await oneCall(server, { command: 'true' }, as('ann-key-0123456789'));
  assert.equal(toldIn(await oneCall(server, { command: 'true' }, as('bob-key-0123456789'))), undefined);
  assert.ok(toldIn(await oneCall(server, { command: 'true' }, as('ann-key-0123456789'))));
});
