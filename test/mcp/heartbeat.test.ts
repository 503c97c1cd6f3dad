import { test } from 'node:test';
import assert from 'node:assert/strict';
import { modernCall, modernHeaders, openSession, post, request, type Message } from '../support/raw.ts';
import { startServer } from '../support/server.ts';

const often = { config: { mcp: { heartbeat: 0.2 } } };
const silent = { name: 'execute_command', arguments: { command: 'sleep 0.9' } };
const progressToken = 'tok';

/** The progress that came before the result, which must grow. */
function beats(messages: readonly Message[]): string[] {
  assert.ok(messages.at(-1)?.result, JSON.stringify(messages));
  const told = messages.filter(({ method }) => method === 'notifications/progress').map(({ params }) => params!);
  assert.ok(told.every((params) => params['progressToken'] === progressToken));
  const values = told.map(({ progress }) => progress as number);
  assert.ok(
    values.every((value, at) => value > (values[at - 1] ?? 0)),
    String(values),
  );
  return told.map(({ message }) => String(message));
}

test('a silent call tells that it goes on, in a session', async () => {
  await using server = await startServer(often);
  const session = await openSession(server);
  const answer = await session.post(request('tools/call', { ...silent, _meta: { progressToken } }));
  const told = beats(answer.messages);
  assert.ok(told.length >= 2, answer.text);
  assert.match(told[0]!, /^at work · \d s$/);
});

test('a silent call tells that it goes on, in 2026-07-28', async () => {
  await using server = await startServer(often);
  const body = modernCall(silent.name, silent.arguments, { progressToken });
  const answer = await post(server.mcp, body, modernHeaders(silent.name));
  assert.ok(beats(answer.messages).length >= 2, answer.text);
});

test('the newest news is told again while there is no other', async () => {
  await using server = await startServer(often);
  const session = await openSession(server);
  const params = { name: 'execute_command', arguments: { command: 'echo half way; sleep 0.5' } };
  const told = beats((await session.post(request('tools/call', { ...params, _meta: { progressToken } }))).messages);
  assert.equal(told[0], 'half way');
  assert.match(told[1] ?? '', /^half way · \d s$/);
});

test('who asked for no progress is told none', async () => {
  await using server = await startServer(often);
  const answer = await (await openSession(server)).post(request('tools/call', silent));
  assert.equal(answer.messages.length, 1, answer.text);
});
