import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAdaptorServer, type WebSocketServerLike } from '@hono/node-server';
import { Hono } from 'hono';
import { WebSocket, type ClientOptions } from 'ws';
import { AppError } from '../../src/errors.ts';
import type { HttpEnv } from '../../src/api/http/env.ts';
import { socketServer, terminalRoutes } from '../../src/api/http/terminal.ts';
import type { TerminalsPort, TerminalWatch } from '../../src/sandbox/ports/workspace.ts';
import { ann, annId, bob } from '../support/files-server.ts';
import { oneSandbox } from '../support/one-sandbox.ts';
import { eventually } from '../support/run.ts';
import { startServer } from '../support/server.ts';

const limits = { timeout: 30_000 };

/** A terminal that says what it is told, and keeps what it is sent. */
class FakeTerminal {
  readonly watches: FakeWatch[] = [];
  readonly port = {
    watch: async (id: string, signal: AbortSignal) => {
      if (id !== 't1') throw new AppError('not_found', 'There is no such terminal.');
      const watch = new FakeWatch(signal);
      this.watches.push(watch);
      return watch;
    },
  } as Partial<TerminalsPort> as TerminalsPort;
}

class FakeWatch implements TerminalWatch {
  readonly info = {
    sessionId: 't1',
    command: 'bash',
    rows: 24,
    cols: 80,
    started: '2026-01-01T00:00:00.000Z',
    exited: false,
    exitCode: null,
    watchers: 1,
  };
  readonly sent: string[] = [];
  readonly sizes: [number, number][] = [];
  readonly signal: AbortSignal;
  readonly output: ReadableStream<Uint8Array>;
  readonly exited: Promise<number | null>;
  /** While set, input waits for it. */
  full: Promise<void> | undefined;
  /** Bytes that were asked for. */
  pulled = 0;
  flooding = false;
  readonly #exit = Promise.withResolvers<number | null>();
  #controller!: ReadableStreamDefaultController<Uint8Array>;

  constructor(signal: AbortSignal) {
    this.signal = signal;
    this.exited = this.#exit.promise;
    this.exited.catch(() => {});
    this.output = new ReadableStream(
      {
        start: (controller) => void (this.#controller = controller),
        pull: (controller) => {
          if (!this.flooding) return;
          this.pulled += 65_536;
          controller.enqueue(new Uint8Array(65_536));
        },
      },
      { highWaterMark: 1 },
    );
    this.say('screen');
  }

  say(text: string): void {
    this.#controller.enqueue(Buffer.from(text));
  }

  exit(code: number): void {
    this.#controller.close();
    this.#exit.resolve(code);
  }

  fail(error: Error): void {
    this.#controller.error(error);
    this.#exit.reject(error);
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.full;
    this.sent.push(Buffer.from(bytes).toString('latin1'));
  }

  async resize(cols: number, rows: number): Promise<void> {
    this.sizes.push([cols, rows]);
  }
}

async function start() {
  const terminal = new FakeTerminal();
  const sandboxes = oneSandbox({ handle: 'sb-1', terminals: terminal.port }, annId);
  const keys = 'ann=ann-key-0123456789,bob=bob-key-0123456789';
  const server = await startServer({ sandboxes, config: { auth: { mode: 'keys', keys } } });
  const base = server.url.replace('http', 'ws');
  const open = async (options: ClientOptions & { protocols?: string[]; path?: string } = {}) => {
    const { protocols = [], path = '/sandboxes/sb-1/terminals/t1', ...rest } = options;
    const viewer = new Viewer(new WebSocket(base + path, protocols, { headers: ann, ...rest }));
    await viewer.opened;
    return viewer;
  };
  return { terminal, sandboxes, server, open, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

/** A client that keeps all it gets. */
class Viewer {
  readonly socket: WebSocket;
  readonly opened: Promise<unknown>;
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly texts: Record<string, unknown>[] = [];
  bytes = '';

  constructor(socket: WebSocket) {
    this.socket = socket;
    this.opened = once(socket, 'open');
    this.closed = new Promise((resolve) =>
      socket.once('close', (code: number, reason: Buffer) => resolve({ code, reason: String(reason) })),
    );
    socket.on('error', () => {});
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) this.bytes += data.toString('latin1');
      else this.texts.push(JSON.parse(data.toString()) as Record<string, unknown>);
    });
  }
}

async function refusal(open: () => Promise<unknown>): Promise<string> {
  const error = await open().then(
    () => new Error('it opened'),
    (error: Error) => error,
  );
  return error.message;
}

test('a viewer gets the terminal’s facts, the screen, then bytes as they come', limits, async () => {
  await using live = await start();
  const viewer = await live.open();
  await eventually(() => viewer.bytes === 'screen');
  assert.deepEqual(viewer.texts, [{ type: 'info', ...live.terminal.watches[0]!.info }]);
  live.terminal.watches[0]!.say('\u001b[31mred\xff');
  await eventually(() => viewer.bytes.includes('red'));
  assert.equal(viewer.bytes, `screen${Buffer.from('\u001b[31mred\xff').toString('latin1')}`);
  assert.equal(live.sandboxes.leases, 1);
  viewer.socket.close();
  await eventually(() => live.sandboxes.leases === 0 && live.terminal.watches[0]!.signal.aborted);
});

test('bytes and sizes go in, in their order', limits, async () => {
  await using live = await start();
  const viewer = await live.open();
  viewer.socket.send(Buffer.from('l'));
  viewer.socket.send(JSON.stringify({ type: 'resize', cols: 120, rows: 40 }));
  viewer.socket.send(Buffer.from([0x03, 0x00, 0xff]));
  const [watch] = live.terminal.watches;
  await eventually(() => watch!.sent.length === 2);
  assert.deepEqual(watch!.sent, ['l', '\x03\x00\xff']);
  assert.deepEqual(watch!.sizes, [[120, 40]]);
});

for (const text of [
  'resize',
  '{"type":"resize","cols":0,"rows":1}',
  '{"type":"resize","cols":9,"rows":9,"x":1}',
  'null',
]) {
  test(`a text frame that is no resize ends the connection with a sentence: ${text}`, limits, async () => {
    await using live = await start();
    const viewer = await live.open();
    viewer.socket.send(text);
    const reason = 'A text frame must be {"type":"resize","cols":1…1000,"rows":1…500}.';
    assert.deepEqual(await viewer.closed, { code: 1008, reason });
  });
}

test('several viewers, and one that leaves', limits, async () => {
  await using live = await start();
  const viewers = [await live.open(), await live.open(), await live.open()];
  await eventually(() => viewers.every(({ bytes }) => bytes === 'screen'));
  assert.equal(live.sandboxes.leases, 3);
  viewers[0]!.socket.terminate();
  await eventually(() => live.sandboxes.leases === 2);
  live.terminal.watches[1]!.say('on');
  await eventually(() => viewers[1]!.bytes === 'screenon');
});

test('the end of the program is the last word', limits, async () => {
  await using live = await start();
  const viewer = await live.open();
  live.terminal.watches[0]!.say('bye');
  live.terminal.watches[0]!.exit(3);
  assert.deepEqual(await viewer.closed, { code: 1000, reason: '' });
  assert.equal(viewer.bytes, 'screenbye');
  assert.deepEqual(viewer.texts.at(-1), { type: 'exit', exitCode: 3 });
});

test('the loss of the sandbox is told', limits, async () => {
  await using live = await start();
  const viewer = await live.open();
  live.terminal.watches[0]!.fail(new AppError('sandbox_lost', 'The sandbox was removed.'));
  assert.deepEqual(await viewer.closed, { code: 1011, reason: 'The sandbox was removed.' });
  await eventually(() => live.sandboxes.leases === 0);
});

test('an unexpected fault is told without its words', limits, async () => {
  await using live = await start();
  const viewer = await live.open();
  live.terminal.watches[0]!.fail(new Error('/var/lib/secret'));
  const { code, reason } = await viewer.closed;
  assert.equal(code, 1011);
  assert.doesNotMatch(reason, /secret/);
});

test('a viewer that does not read is sent a bounded amount', limits, async () => {
  await using live = await start();
  const viewer = await live.open();
  viewer.socket.pause();
  const [watch] = live.terminal.watches;
  watch!.flooding = true;
  watch!.say('go');
  let before = -1;
  await eventually(async () => {
    const settled = watch!.pulled === before;
    before = watch!.pulled;
    await sleep(200);
    return settled && before > 0;
  }, 20);
  assert.ok(watch!.pulled < 32 * 1024 ** 2, `${watch!.pulled} bytes`);
  viewer.socket.terminate();
  await eventually(() => live.sandboxes.leases === 0);
});

test('a terminal that takes no input makes its viewer wait', limits, async () => {
  await using live = await start();
  const viewer = await live.open();
  const [watch] = live.terminal.watches;
  const room = Promise.withResolvers<void>();
  watch!.full = room.promise;
  const chunk = Buffer.alloc(512 * 1024);
  for (let i = 0; i < 64; i += 1) viewer.socket.send(chunk);
  await sleep(300);
  assert.ok(viewer.socket.bufferedAmount > 8 * 1024 ** 2, `${viewer.socket.bufferedAmount} bytes wait in the client`);
  watch!.full = undefined;
  room.resolve();
  await eventually(() => watch!.sent.length === 64, 10);
});

test('a message beyond a mebibyte is refused', limits, async () => {
  await using live = await start();
  const viewer = await live.open();
  viewer.socket.send(Buffer.alloc(1024 ** 2 + 1));
  assert.equal((await viewer.closed).code, 1009);
  assert.deepEqual(live.terminal.watches[0]!.sent, []);
});

test('a key as a subprotocol, as a browser has to send it', limits, async () => {
  await using live = await start();
  const viewer = await live.open({ headers: {}, protocols: ['berth', 'bearer.ann-key-0123456789'] });
  assert.equal(viewer.socket.protocol, 'berth');
  const wrong = () => live.open({ headers: {}, protocols: ['berth', 'bearer.ann-key-0123456780'] });
  assert.match(await refusal(wrong), /401/);
});

test(
  'refused before the upgrade: no key, a foreign sandbox, an unknown one, no terminal, a bad Origin',
  limits,
  async () => {
    await using live = await start();
    assert.match(await refusal(() => live.open({ headers: {} })), /401/);
    assert.match(await refusal(() => live.open({ headers: bob })), /404/);
    assert.match(await refusal(() => live.open({ path: '/sandboxes/sb-9/terminals/t1' })), /404/);
    assert.match(await refusal(() => live.open({ path: '/sandboxes/sb-1/terminals/t9' })), /404/);
    assert.match(await refusal(() => live.open({ origin: 'https://evil.example' })), /403/);
    await eventually(() => live.sandboxes.leases === 0);
  },
);

for (const [what, path, options, status, code] of [
  ['without a key', '/sandboxes/sb-1/terminals/t1', { headers: {} }, 401, 'unauthorized'],
  ['to no terminal', '/sandboxes/sb-1/terminals/t9', { headers: ann }, 404, 'not_found'],
  ['to no route', '/nowhere', { headers: ann }, 404, 'not_found'],
  [
    'of a foreign page',
    '/sandboxes/sb-1/terminals/t1',
    { headers: ann, origin: 'https://evil.example' },
    403,
    'forbidden',
  ],
] as const)
  test(`an upgrade ${what} is refused in the words of other routes`, limits, async () => {
    await using live = await start();
    const socket = new WebSocket(live.server.url.replace('http', 'ws') + path, [], options);
    socket.on('error', () => {});
    const [, answer] = (await once(socket, 'unexpected-response')) as [ClientRequest, IncomingMessage];
    assert.equal(answer.statusCode, status);
    assert.equal(answer.headers['content-type'], 'application/json');
    assert.equal(answer.headers['www-authenticate'], status === 401 ? 'Bearer realm="berth"' : undefined);
    assert.ok(answer.headers['x-request-id']);
    const { error } = JSON.parse(await text(answer)) as { error: { code: string; message: string } };
    assert.equal(error.code, code);
    assert.match(error.message, /\.$/);
    await eventually(() => live.sandboxes.leases === 0);
  });

test('a plain GET is told to upgrade', limits, async () => {
  await using live = await start();
  const response = await fetch(`${live.server.url}/sandboxes/sb-1/terminals/t1`, { headers: ann });
  assert.equal(response.status, 426);
  assert.equal(response.headers.get('upgrade'), 'websocket');
  assert.equal(live.sandboxes.leases, 0);
});

test('a handshake that never completes holds nothing', limits, async () => {
  await using live = await start();
  const socket = connect(Number(new URL(live.server.url).port), '127.0.0.1');
  socket.on('error', () => {}).resume();
  const head =
    'GET /sandboxes/sb-1/terminals/t1 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n';
  socket.write(`${head}Authorization: ${ann.authorization}\r\n\r\n`);
  await once(socket, 'close');
  await eventually(() => live.sandboxes.leases === 0);
});

test('the server’s end is told to its viewers', limits, async () => {
  const live = await start();
  const viewer = await live.open();
  await live.server.close();
  assert.equal((await viewer.closed).code, 1001);
  await eventually(() => live.sandboxes.leases === 0);
});

test('a viewer that has gone without a word is let go', limits, async () => {
  const terminal = new FakeTerminal();
  const sandboxes = oneSandbox({ handle: 'sb-1', terminals: terminal.port });
  const app = new Hono<HttpEnv>();
  app.use(async (c, next) => {
    c.set('principal', { id: 'anonymous' });
    c.set('isGood', () => true);
    await next();
  });
  app.route('/', terminalRoutes({ sandboxes, heartbeat: 100 }));
  const websocket = { server: socketServer() as WebSocketServerLike };
  const server = createAdaptorServer({ fetch: app.fetch, websocket }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/sandboxes/sb-1/terminals/t1`;
  try {
    const alive = new Viewer(new WebSocket(url));
    const silent = new Viewer(new WebSocket(url, { autoPong: false }));
    await Promise.all([alive.opened, silent.opened]);
    assert.equal((await silent.closed).code, 1006);
    await sleep(300);
    assert.equal(alive.socket.readyState, WebSocket.OPEN);
    assert.equal(sandboxes.leases, 1);
    alive.socket.terminate();
  } finally {
    server.close();
  }
});
