import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';
import { connectTo } from '../../src/egress/connect.ts';
import { Doors } from '../../src/egress/doors.ts';
import { createLogger } from '../../src/log.ts';
import type { EgressDoor } from '../../src/sandbox/network/egress.ts';
import { eventually } from '../support/run.ts';

const slowPort = 81;
const addresses = ['151.101.0.223', '151.101.64.223', '151.101.128.223', '151.101.192.223'];
const policy = { hosts: ['web.test', 'slow.test', 'gone.test'], ports: [80, 443, slowPort], bytes: 1e8 };
const get = (path: string, headers = '') => `GET http://web.test${path} HTTP/1.1\r\nHost: web.test\r\n${headers}\r\n`;
const connecting = 'CONNECT web.test:443 HTTP/1.1\r\nHost: web.test:443\r\n\r\n';
const goodbye = 'Connection: close\r\n';

/** A server that answers each connection with what it was sent, and no request for `/silent`. */
class Upstream implements AsyncDisposable {
  /** Since `begin`: the most connections to here at a time, from when they were asked for, and what came over them. */
  most = 0;
  seen = '';
  #open = 0;
  #dialled = 0;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((socket) => this.#serve(socket));

  get open(): number {
    return this.#open;
  }

  /** How many connections were asked for since `begin`. */
  get dialled(): number {
    return this.#dialled;
  }

  async start(): Promise<void> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
  }

  begin(): void {
    [this.most, this.#dialled, this.seen] = [0, 0, ''];
  }

  /** Connects here, after a while. */
  async dial(pause: number): Promise<Socket> {
    this.#open += 1;
    this.#dialled += 1;
    this.most = Math.max(this.most, this.#open);
    await sleep(pause);
    const socket = await connectTo('127.0.0.1', (this.#server.address() as AddressInfo).port);
    return socket.once('close', () => (this.#open -= 1));
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket.once('close', () => this.#sockets.delete(socket)));
    socket
      .on('error', () => {})
      .on('data', (chunk) => {
        this.seen += chunk;
        if (!String(chunk).includes('/silent')) setTimeout(() => this.#answer(socket, String(chunk)), 20);
      });
  }

  #answer(socket: Socket, body: string): void {
    socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

describe('the proxy', { timeout: 30_000 }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-proxy-'));
  const upstream = new Upstream();
  const logged: Record<string, unknown>[] = [];
  const sink = new Writable({ write: (chunk, _, done) => (logged.push(JSON.parse(String(chunk))), done()) });
  const log = createLogger({ level: 'warn', format: 'json' }, sink);
  const doors = new Doors({
    directory,
    log,
    resolve: async (host) => {
      if (host === 'gone.test') throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
      return addresses.slice(0, host === 'slow.test' ? 4 : 1);
    },
    connect: (_address, port) => upstream.dial(port === slowPort ? 1000 : 0),
  });
  let door: EgressDoor;

  before(async () => {
    await upstream.start();
    door = await doors.open({ handle: 'sb_1', template: 'web', policy, fresh: true });
  });
  after(async () => {
    await door[Symbol.asyncDispose]();
    await upstream[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });

  const client = (): Socket => connect(join(door.directory, 'proxy')).on('error', () => {});
  /** All that comes back for these bytes, up to the connection's end. */
  const said = async (bytes: string): Promise<string> => {
    const socket = client();
    socket.write(bytes);
    let answers = '';
    socket.on('data', (chunk) => (answers += chunk));
    await new Promise((resolve) => socket.once('close', resolve));
    return answers;
  };
  const statuses = (answers: string) => answers.match(/(?<=^HTTP\/1\.1 )\d+/gm)?.map(Number);
  const idle = () => eventually(() => upstream.open === 0, 5);

  test('answers requests that are sent at once in their order, one connection for each at a time', async () => {
    upstream.begin();
    const paths = Array.from({ length: 10 }, (_, at) => `/${at}`);
    const answers = await said(paths.map((path) => get(path, path === '/9' ? goodbye : '')).join(''));
    assert.deepEqual(answers.match(/(?<=GET )\S+/g), paths);
    assert.deepEqual(statuses(answers), Array(10).fill(200));
    assert.equal(upstream.most, 1);
  });

  test('goes on with a connection that waits for each answer', async () => {
    const socket = client();
    for (const path of ['/1', '/2', '/3']) {
      socket.write(get(path));
      const [answer] = await once(socket, 'data');
      assert.match(String(answer), /^HTTP\/1\.1 200 OK\r\n[^]*connection: keep-alive\r\n/i);
    }
    socket.destroy();
  });

  test('ends a connection with a refusal, and asks for nothing that was sent behind it', async () => {
    upstream.begin();
    const evil = get('/').replaceAll('web.test', 'evil.test');
    const answers = await said(evil + get('/', goodbye));
    assert.deepEqual(statuses(answers), [403]);
    await sleep(100);
    assert.equal(upstream.dialled, 0);
  });

  for (const request of [
    'GET http://gone.test/ HTTP/1.1\r\nHost: gone.test\r\n\r\n',
    'CONNECT gone.test:80 HTTP/1.1\r\n\r\n',
  ])
    test(`what is not reached by ${request.slice(0, 7).trim()} is told to the sandbox and to the log`, async () => {
      const since = performance.now();
      logged.splice(0);
      assert.deepEqual(statuses(await said(request.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))), [502]);
      const message = 'gone.test:80 could not be reached: its name cannot be resolved.';
      assert.deepEqual(
        door.denials(since).map((denial) => denial.message),
        [message],
      );
      const [line] = logged.filter(({ event }) => event === 'egress.failed');
      assert.deepEqual([line?.['target'], line?.['reason']], ['gone.test:80', 'its name cannot be resolved']);
    });

  test('opens a tunnel in a connection that was answered before', async () => {
    const socket = client();
    socket.write(get('/1'));
    await once(socket, 'data');
    socket.write(connecting);
    assert.equal(String((await once(socket, 'data'))[0]), 'HTTP/1.1 200 Connection established\r\n\r\n');
    socket.write('hello');
    assert.match(String((await once(socket, 'data'))[0]), /hello$/);
    socket.destroy();
  });

  test('ends a connection with a CONNECT behind what is not answered', async () => {
    upstream.begin();
    assert.equal(await said(get('/silent') + connecting), '');
    await idle();
    assert.ok(upstream.dialled <= 1, `${upstream.dialled} connections`);
  });

  for (const [name, request] of [
    ['', get('/silent')],
    [' of HTTP/1.0', 'GET http://web.test/silent HTTP/1.0\r\nConnection: keep-alive\r\n\r\n'],
    [' without a host', 'GET http://web.test/silent HTTP/1.1\r\n\r\n'],
    [' that expect what there is not', get('/silent', 'Expect: x\r\n')],
  ] as const)
    test(
      `ends a connection of thousands of requests${name}, and opens one connection for them at most`,
      { timeout: 10_000 },
      async () => {
        upstream.begin();
        assert.equal(await said(get('/silent') + request.repeat(5000)), '');
        await sleep(100);
        await idle();
        assert.ok(upstream.most <= 1, `${upstream.most} connections`);
      },
    );

  test('begins nothing for a client that is gone', async () => {
    upstream.begin();
    const socket = client();
    socket.write(get('/silent').repeat(10));
    await eventually(() => upstream.open === 1, 5);
    socket.destroy();
    await idle();
    await sleep(100);
    assert.equal(upstream.dialled, 1);
  });

  for (const behind of ['', connecting])
    test(`keeps nothing for a client that ${behind ? 'sent a CONNECT' : 'went'} while it dialled`, async () => {
      upstream.begin();
      const socket = client();
      socket.write(get('/silent').replaceAll('web.test', `slow.test:${slowPort}`));
      await eventually(() => upstream.open > 0);
      if (behind) socket.write(behind);
      else socket.destroy();
      await idle();
    });

  test('has 128 connections open at most, those of several addresses tried at once counted, too', async () => {
    upstream.begin();
    const slow = get('/', goodbye).replaceAll('web.test', `slow.test:${slowPort}`);
    const answers = await Promise.all(Array.from({ length: 128 }, () => said(slow)));
    assert.deepEqual(answers.flatMap(statuses), Array(128).fill(200));
    await idle();
    assert.equal(upstream.most, 128);
    assert.deepEqual(statuses(await said(get('/', goodbye))), [200]);
  });

  for (const method of ['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE', 'POST'])
    for (const [framing, headers, framed] of [
      ['in chunks', 'Transfer-Encoding: chunked\r\n', (body: string) => chunks(body)],
      ['of a length that is not passed on', 'Connection: content-length, close\r\n', (body: string) => body],
    ] as const)
      test(`passes a body ${framing} on as one (${method})`, async () => {
        upstream.begin();
        const hidden = 'GET /hidden HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n';
        const length = framing === 'in chunks' ? goodbye : `Content-Length: ${hidden.length}\r\n`;
        const head = get('/', headers + length).replace('GET', method);
        assert.deepEqual(statuses(await said(head + framed(hidden))), [200]);
        await idle();
        assert.ok(upstream.seen.endsWith(`\r\n\r\n${chunks(hidden)}`), upstream.seen);
        assert.match(upstream.seen, /^transfer-encoding: chunked\r$/im);
      });
});

function chunks(body: string): string {
  return `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
}
