import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openSession, type RawSession } from '../support/raw.ts';
import { ServerProcess } from '../support/server-process.ts';

/** A command whose caller has gone is found again, by whoever comes next and knows no id. */

let server: ServerProcess;
before(async () => {
  server = await ServerProcess.start({ BERTH_SESSION__TEMPLATE: 'base', BERTH_SHELL__WAIT: '0.5' });
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

type Fields = Record<string, unknown>;

async function ask(session: RawSession, tool: string, args: Fields = {}) {
  const { result } = await session.call(tool, args);
  const text = result?.content?.[0]?.text ?? '';
  return { fields: result?.structuredContent ?? {}, text, failed: result?.isError ?? false };
}

/** A command's page from its beginning, once it has ended: a wait is over at any news. */
async function ended(session: RawSession, id: unknown): Promise<Awaited<ReturnType<typeof ask>>> {
  for (;;) {
    const page = await ask(session, 'check_command', { command_id: id, offset: 0, wait: 10 });
    if (!['queued', 'running'].includes(String(page.fields['status']))) return page;
  }
}

test('a long command goes on in the background by itself, and is found and stopped without its id', async () => {
  const session = await openSession({ mcp: `${server.url}/mcp` });
  assert.deepEqual((await ask(session, 'sandbox_status')).fields, { state: 'none' });
  const quick = await ask(session, 'execute_command', { command: 'echo quick' });
  assert.deepEqual([quick.fields['status'], quick.fields['stdout']], ['success', 'quick\n']);

  const before = Date.now();
  const long = await ask(session, 'execute_command', { command: 'echo part; sleep 50' });
  const id = long.fields['command_id'];
  assert.deepEqual([long.fields['status'], long.fields['stdout']], ['running', 'part\n']);

  const next = await ask(session, 'execute_command', { command: 'echo next' });
  const { since, ...behind } = next.fields['behind'] as Fields;
  assert.deepEqual([next.fields['status'], next.fields['exit_code']], ['queued', null]);
  assert.deepEqual(behind, { command_id: id, command: 'echo part; sleep 50', status: 'running' });
  assert.ok(Math.abs(Date.parse(String(since)) - before) < 3000, String(since));
  assert.match(
    next.text,
    /has not begun; the shell runs cmd_2_\w+ \(running since [-\dT:.]+Z\): echo part; sleep 50\]/,
  );
  assert.match(next.text, /\[queued · command_id cmd_q_\w+ · 0\.00 s/);

  const status = await ask(session, 'sandbox_status');
  const listed = (status.fields['commands'] as Fields[]).map(({ command_id, command, status }) => [
    command_id,
    command,
    status,
  ]);
  assert.deepEqual(listed, [
    [id, 'echo part; sleep 50', 'running'],
    [next.fields['command_id'], 'echo next', 'queued'],
  ]);
  assert.match(status.text, /^command: cmd_2_\w+ \(running since .*Z\): echo part; sleep 50$/m);
  assert.match(status.text, /^command: cmd_q_\w+ \(queued since .*Z\): echo next$/m);

  const found = await ask(session, 'check_command');
  assert.deepEqual([found.fields['command_id'], found.fields['stdout']], [id, 'part\n']);
  const waits = await ask(session, 'check_command', { command_id: next.fields['command_id'] });
  assert.deepEqual([waits.fields['status'], (waits.fields['behind'] as Fields)['command_id']], ['queued', id]);
  const stopped = await ask(session, 'stop_command');
  assert.deepEqual([stopped.fields['command_id'], stopped.fields['status']], [id, 'cancelled']);
  const last = await ended(session, next.fields['command_id']);
  assert.deepEqual([last.fields['status'], last.fields['stdout']], ['success', 'next\n']);
  assert.equal((await ask(session, 'check_command')).fields['command_id'], next.fields['command_id']);

  const none = await ask(session, 'stop_command');
  assert.deepEqual([none.failed, none.fields['code']], [true, 'not_found']);
  assert.deepEqual((await ask(session, 'sandbox_status')).fields['commands'], []);
  await session.delete();
});

test('a call may ask for more patience than the setting gives', async () => {
  const session = await openSession({ mcp: `${server.url}/mcp` });
  const { fields } = await ask(session, 'execute_command', { command: 'sleep 1; echo done', wait: 20 });
  assert.deepEqual([fields['status'], fields['stdout']], ['success', 'done\n']);
  await session.delete();
});

test('an ended command whose processes live on says so when it is looked at', async () => {
  const session = await openSession({ mcp: `${server.url}/mcp` });
  const { fields } = await ask(session, 'execute_command', { command: 'sleep 50 & echo up' });
  assert.deepEqual([fields['status'], fields['background']], ['success', true]);
  const note = /\[note: processes of this command still run in the background; stop_command ends them\]/;
  assert.match((await ask(session, 'check_command')).text, note);
  const stopped = await ask(session, 'stop_command', { command_id: fields['command_id'], signal: 'KILL' });
  assert.doesNotMatch(stopped.text, note);
  assert.doesNotMatch((await ask(session, 'check_command')).text, note);
  await session.delete();
});
