import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { openSession, type RawSession } from '../support/raw.ts';
import { eventually } from '../support/run.ts';
import { ServerProcess } from '../support/server-process.ts';

describe('files and terminals of a real sandbox, over the wire', { timeout: 120_000 }, () => {
  let server: ServerProcess;
  let session: RawSession;
  let base: string;
  before(async () => {
    server = await ServerProcess.start({ BERTH_SESSION__TEMPLATE: 'base' });
    session = await openSession({ mcp: `${server.url}/mcp` });
    await call('execute_command', { command: 'true' });
    base = `${server.url}/sandboxes/${(await call('sandbox_status'))['sandbox']}`;
  });
  after(() => server[Symbol.asyncDispose]());

  const call = async (name: string, args: object = {}): Promise<Record<string, unknown>> => {
    const { result } = await session.call(name, args);
    assert.equal(result?.isError ?? false, false, JSON.stringify(result));
    return result!.structuredContent!;
  };

  test('what is put over HTTP is what a command sees, and the other way round', async () => {
    const put = await fetch(`${base}/files/in/data.txt?mode=600`, { method: 'PUT', body: 'a\nb\n' });
    assert.equal(put.status, 201);
    const { stdout } = await call('execute_command', {
      command: 'stat -c "%a %u %s" in/data.txt; tee out.txt < in/data.txt',
    });
    assert.equal(stdout, '600 1000 4\na\nb\n');
    assert.equal(await (await fetch(`${base}/files/out.txt`)).text(), 'a\nb\n');
  });

  test('a terminal by tool and by WebSocket is one', async () => {
    const { sessionId } = await call('start_shell_session', { cols: 80, rows: 24 });
    const socket = new WebSocket(`${base.replace('http', 'ws')}/terminals/${String(sessionId)}`);
    let screen = '';
    let exit: unknown;
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) screen += data.toString('utf8');
      else exit = JSON.parse(data.toString());
    });
    await once(socket, 'open');
    socket.send(Buffer.from('echo typed $((20 + 3))\r'));
    await eventually(() => screen.includes('typed 23'), 10);
    socket.send(JSON.stringify({ type: 'resize', cols: 101, rows: 33 }));
    await call('send_shell_input', { sessionId, input: 'stty size' });
    await eventually(() => screen.includes('33 101'), 10);
    socket.send(Buffer.from('exit 7\r'));
    const [code] = await once(socket, 'close');
    assert.equal(code, 1000);
    assert.deepEqual(exit, { type: 'exit', exitCode: 7 });
  });

  test('a sandbox is removed at once while one of its downloads stands still', async () => {
    await call('execute_command', { command: 'head -c 100M /dev/zero > zeros' });
    const response = await fetch(`${base}/files/zeros`);
    const reader = response.body!.getReader();
    await reader.read();
    const began = performance.now();
    await call('execute_command', { command: 'true' });
    await call('reset_session', { scope: 'workspace' });
    assert.ok(performance.now() - began < 5000);
    await assert.rejects(async () => {
      while (!(await reader.read()).done);
    });
  });
});
