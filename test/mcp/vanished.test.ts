import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { FarHost, noFarHost } from '../support/far-host.ts';
import type { FarCall } from '../support/far-client.ts';
import { modernCall, modernHeaders, openSession, type RawSession } from '../support/raw.ts';
import { eventually } from '../support/run.ts';
import { ServerProcess } from '../support/server-process.ts';

const key = 'ann-has-a-key-of-her-own';
const authorization = `Bearer ${key}`;
const MiB = 1024 ** 2;

/** A request as it is written; a body that is shorter than it should be is one that is still to come. */
function written(line: string, headers: Record<string, string>, body = ''): string {
  const all = { host: 'localhost', authorization, 'content-length': String(Buffer.byteLength(body)), ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${line} HTTP/1.1\r\n${lines.join('')}\r\n${body}`;
}

describe('a client that vanishes without a word', { skip: noFarHost, timeout: 120_000 }, () => {
  const far = new FarHost();
  let server: ServerProcess;
  let session: RawSession;
  let port = 0;

  const chat = (id: string) => ({ authorization, 'x-openwebui-chat-id': id });
  const fields = async (name: string, args: object, from = session) => {
    const { result } = await from.call(name, args);
    assert.notEqual(result?.isError, true, JSON.stringify(result));
    return result?.structuredContent ?? {};
  };
  const stdout = async (command: string, from = session) =>
    (await fields('execute_command', { command }, from))['stdout'];

  /** A viewer from here, and how many there were before. */
  const view = async (terminal: string) => {
    const socket = new WebSocket(server.url.replace('http', 'ws') + terminal, { headers: { authorization } });
    const [info] = (await once(socket, 'message')) as [Buffer];
    return { socket, others: (JSON.parse(String(info)) as { watchers: number }).watchers };
  };

  before(async () => {
    server = await ServerProcess.start({
      BERTH_SERVER__HOST: far.here,
      BERTH_SERVER__KEEPALIVE: '1',
      BERTH_AUTH__KEYS: `ann=${key}`,
      BERTH_SESSION__TEMPLATE: 'base',
    });
    port = Number(new URL(server.url).port);
    session = await openSession({ mcp: `${server.url}/mcp` }, chat('near'));
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    await far[Symbol.asyncDispose]();
  });

  test('loses each of its connections, and all that they held', async () => {
    const sandbox = String((await fields('create_sandbox', {}))['sandbox']);
    const { sessionId } = await fields('start_shell_session', { sandbox });
    await fields('execute_command', { sandbox, command: `head -c ${64 * MiB} /dev/zero >large` });
    const files = `/sandboxes/${sandbox}/files`;
    const terminal = `/sandboxes/${sandbox}/terminals/${String(sessionId)}`;
    const upgrade = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
    };
    const json = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
    const command = JSON.stringify(modernCall('execute_command', { command: 'echo begun >begun; sleep 1000' }));
    const modern = { ...json, ...modernHeaders('execute_command'), 'x-openwebui-chat-id': 'far' };
    const stream = { ...session.headers, accept: 'text/event-stream' };
    const watch = written(`GET ${terminal}`, upgrade);
    const calls: FarCall[] = [
      { name: 'idle', text: written('GET /health', {}), awaited: true, stalls: false },
      { name: 'head', text: 'GET /health HTTP/1.1\r\nhost: localhost\r\n', awaited: false, stalls: false },
      { name: 'call', text: written('POST /mcp', modern, command), awaited: true, stalls: false },
      { name: 'stream', text: written('GET /mcp', stream), awaited: true, stalls: false },
      { name: 'terminal', text: watch, awaited: true, stalls: false },
      { name: 'deaf terminal', text: watch, awaited: true, stalls: true },
      { name: 'download', text: written(`GET ${files}/large`, {}), awaited: true, stalls: true },
      {
        name: 'upload',
        text: written(`PUT ${files}/half`, { 'content-length': String(MiB) }, 'beginning'),
        awaited: false,
        stalls: false,
      },
    ];
    await far.connect(port, calls);
    const inFar = await openSession({ mcp: `${server.url}/mcp` }, chat('far'));
    const begun = async () => (await inFar.call('download_file', { path: 'begun' })).result?.isError !== true;
    await eventually(begun, 20);
    await sleep(6000);
    assert.equal(far.connections(port), calls.length, 'those that are there stay, whether they read or not');

    const near = await view(terminal);
    assert.equal(near.others, 2);
    far.cut();
    await eventually(() => far.connections(port) === 0, 30).catch(() =>
      assert.fail(`${far.connections(port)} connections are left`),
    );
    assert.equal(near.socket.readyState, WebSocket.OPEN);
    near.socket.terminate();
    await eventually(async () => {
      const again = await view(terminal);
      again.socket.terminate();
      return again.others === 0;
    });
    assert.equal(await stdout('echo free; pgrep -c sleep', inFar), 'free\n0\n', 'the command was interrupted');
    const args = { sandbox, command: "ps axww -o args | grep -c '[b]erth /workspace/\\(large\\|half\\)'; ls -A" };
    await eventually(async () => {
      const { stdout: left } = await fields('execute_command', args);
      return left === '0\nlarge\n';
    });
  });
});
