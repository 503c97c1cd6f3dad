import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { buffer, text } from 'node:stream/consumers';
import { createBody } from '../../src/runtimes/docker/spec.ts';
import { specOf, testImage } from '../support/docker-runtime.ts';
import { type TestGuard, testGuard } from '../support/guarded.ts';

const own = 'a'.repeat(64);
const exec = 'e'.repeat(64);
const privileged = 'f'.repeat(64);
const foreign = 'b'.repeat(64);

/** What reached the engine besides the guard's own questions. */
const reached: { line: string; headers: object; body: string }[] = [];
const hardened = { Privileged: false, CapDrop: ['ALL'], SecurityOpt: ['no-new-privileges'] };

function inspection(id: string, labels: object): string {
  return JSON.stringify({ Id: id, Config: { Labels: labels }, HostConfig: hardened });
}

/** An engine with one container of Berth's and one of another's. Its streams give back what they get. */
function fakeEngine(): Server {
  const server = createServer((request, answer) => {
    void text(request).then((body) => {
      reached.push({ line: `${request.method} ${request.url}`, headers: request.headers, body });
      if (request.url === `/containers/${own}/json`) return answer.end(inspection(own, { 'berth.instance': 'abc' }));
      if (request.url === `/containers/${foreign}/json`) return answer.end(inspection(foreign, {}));
      if (request.url === `/exec/${exec}/json`) {
        return answer.end(JSON.stringify({ ContainerID: own, ProcessConfig: { privileged: false } }));
      }
      if (request.url === `/exec/${privileged}/json`) {
        return answer.end(JSON.stringify({ ContainerID: own, ProcessConfig: { privileged: true } }));
      }
      if (request.url?.startsWith('/images/berth/')) return answer.end(JSON.stringify({ Id: 'sha256:0', Config: {} }));
      answer.setHeader('set-cookie', 'x=1');
      return answer.end('{}');
    });
  });
  server.on('upgrade', (request, socket, head) => {
    const length = Number(request.headers['content-length']);
    socket.unshift(head);
    const body = String(socket.read(length));
    reached.push({ line: `${request.method} ${request.url}`, headers: request.headers, body });
    socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n');
    socket.pipe(socket);
  });
  return server;
}

describe('the guard’s wire', () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-fake-'));
  const engine = fakeEngine();
  let guard: TestGuard;

  before(async () => {
    await new Promise<void>((resolve) => engine.listen(join(directory, 'engine'), resolve));
    guard = await testGuard(undefined, join(directory, 'engine'));
  });
  afterEach(() => void reached.splice(0));
  after(async () => {
    await guard[Symbol.asyncDispose]();
    engine.close();
    engine.closeAllConnections();
    rmSync(directory, { recursive: true });
  });

  /** Sends bytes as they are; the whole of what comes back. */
  async function raw(...parts: readonly string[]): Promise<string> {
    const socket = connect(guard.socket);
    socket.on('error', () => {});
    for (const part of parts) socket.write(part);
    return (await buffer(socket).catch(() => Buffer.alloc(0))).toString();
  }
  const ask = (line: string, headers = '', body = '') =>
    raw(`${line} HTTP/1.1\r\nHost: docker\r\n${closing(headers)}${headers}\r\n${body}`);
  const closing = (headers: string) => (headers.includes('Upgrade') ? '' : 'Connection: close\r\n');
  const post = (path: string, body: string, headers = '') =>
    ask(`POST ${path}`, `${headers}Content-Length: ${Buffer.byteLength(body)}\r\n`, body);
  const lines = () => reached.map(({ line }) => line);

  test('is a socket for its user and group alone', () => {
    assert.equal(statSync(guard.socket).mode & 0o777, 0o660);
  });

  test('passes a question on as its own', async () => {
    const answer = await ask('GET /v1.41/version', 'X-Registry-Auth: secret\r\nCookie: a=b\r\nX-Forwarded-For: me\r\n');
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
    assert.doesNotMatch(answer, /cookie/i);
    assert.deepEqual(lines(), ['GET /v1.41/version']);
    assert.deepEqual(reached[0]?.headers, { host: 'docker', connection: 'keep-alive' });
  });

  test('answers what it refuses as the engine would', async () => {
    const answer = await ask('GET /secrets');
    assert.match(answer, /^HTTP\/1\.1 403 Forbidden\r\ncontent-type: application\/json\r\n/);
    assert.match(answer, /\{"message":"Berth does not need this of the engine, so it is not let through\."\}/);
    assert.deepEqual(lines(), []);
  });

  const twoWays: readonly [string, string, string, string?][] = [
    [
      'a length and chunks',
      'POST /volumes/create',
      'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n',
      '0\r\n\r\nGET /secrets HTTP/1.1\r\n\r\n',
    ],
    ['two lengths', 'POST /volumes/create', 'Content-Length: 0\r\nContent-Length: 44\r\n', 'x'],
    ['an odd encoding', 'POST /volumes/create', 'Transfer-Encoding: xchunked\r\n', '0\r\n\r\n'],
    ['two encodings', 'POST /volumes/create', 'Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n'],
    ['a space before the colon', 'GET /version', 'Content-Length : 5\r\n'],
    ['a folded header', 'GET /version', 'X: a\r\n b: c\r\n'],
    ['a lonely line feed', 'GET /version', 'X: a\nTransfer-Encoding: chunked\r\n'],
    ['an absolute target', 'GET http://docker/version', ''],
    ['a way up', 'GET /v1.41/../version', ''],
    ['a hidden way up', 'GET /containers/%2e%2e/version', ''],
    ['a hidden slash', `GET /containers/${own}%2f..%2f..%2fsecrets/json`, ''],
    ['two slashes', 'GET //version', ''],
    ['a hidden question', 'GET /images/a%3fb/json', ''],
    ['a twice hidden slash', `GET /containers/x%252fjson`, ''],
    ['a NUL', 'GET /version%00', ''],
    ['a fragment', 'GET /version#x', ''],
    ['no decodable path', 'GET /%ff', ''],
    ['an old API', `POST /v1.23/containers/${own}/start`, 'Content-Length: 0\r\n'],
    ['a version twice', 'GET /v1.41/v1.41/version', ''],
    ['a key twice', `DELETE /containers/${own}?force=1&force=0`, ''],
    ['an unknown key', `DELETE /containers/${own}?link=1`, ''],
    ['an unknown method', 'PATCH /version', ''],
    ['a method in small letters', 'get /version', ''],
    ['a tunnel', 'CONNECT docker:80', ''],
    [
      'a change of protocol elsewhere',
      'POST /containers/create',
      'Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n',
      '{}',
    ],
    ['HTTP/2', 'GET /version', 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n'],
    [
      'a stream with chunks',
      `POST /exec/${exec}/start`,
      'Connection: Upgrade\r\nUpgrade: tcp\r\nTransfer-Encoding: chunked\r\n',
      '0\r\n\r\n',
    ],
    ['a stream without a body', `POST /exec/${exec}/start`, 'Connection: Upgrade\r\nUpgrade: tcp\r\n'],
    [
      'an attached container',
      `POST /containers/${own}/attach`,
      'Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n',
      '{}',
    ],
    ['filters that are no JSON', 'GET /containers/json?filters=x', ''],
    ['filters of another kind', 'GET /containers/json?filters=%7B%22id%22:%5B%22b%22%5D%7D', ''],
  ];
  for (const [what, line, headers, body] of twoWays)
    test(`lets nothing through with ${what}`, async () => {
      assert.doesNotMatch(await ask(line, headers, body), /^HTTP\/1\.1 [123]/);
      assert.deepEqual(lines(), []);
    });

  test('judges each request of one connection by itself', async () => {
    const answer = await raw(
      'GET /version HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nGET ',
      `DELETE /containers/${foreign} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
    );
    assert.deepEqual(
      [...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status),
      ['400', '403'],
    );
    assert.deepEqual(
      lines().filter((line) => line.startsWith('DELETE')),
      [],
    );
  });

  test('creates a container under a name of Berth’s own alone', async () => {
    const placement = { instance: 'abc', hostVolume: 'berth-session-host-0123456789ab', orphanAfter: 90 };
    const body = JSON.stringify(createBody(specOf('berth-abc-box'), placement));
    for (const name of ['?name=other', '?name=berth-session-host-0123456789ab', ''])
      assert.match(
        await post(`/containers/create${name}`, body),
        /^HTTP\/1\.1 403 .*the name is not as Berth sets it/s,
      );
    assert.deepEqual(lines(), []);
    assert.match(await post('/containers/create?name=berth-abc-box', body), /^HTTP\/1\.1 200 /);
    assert.deepEqual(lines(), [`GET /images/${testImage}/json`, 'POST /containers/create?name=berth-abc-box']);
  });

  test('starts no privileged process, whoever has made it', { timeout: 10_000 }, async () => {
    const upgrade = 'Connection: Upgrade\r\nUpgrade: tcp\r\n';
    const start = (id: string) => post(`/exec/${id}/start`, '{"Tty":false}', upgrade);
    assert.match(await start(privileged), /^HTTP\/1\.1 403 .*A privileged process is not let through\./s);
    assert.deepEqual(lines(), [`GET /exec/${privileged}/json`]);
  });

  test('starts a container with no body, whatever came', async () => {
    assert.match(await post(`/containers/${own}/start`, '{"Binds":["/:/host"],"Privileged":true}'), /^HTTP\/1\.1 200/);
    assert.deepEqual(reached.at(-1)?.body, '');
    assert.equal(lines().at(-1), `POST /containers/${own}/start`);
  });

  test('reads a body with a key twice as the engine is going to', async () => {
    const body =
      '{"Cmd":["id"],"AttachStdin":true,"AttachStdout":true,"AttachStderr":true,"Tty":false,"Env":[],"DetachKeys":""';
    assert.match(
      await post(`/containers/${own}/exec`, `${body},"Privileged":false,"Privileged":true}`),
      /^HTTP\/1\.1 403/,
    );
    assert.match(
      await post(`/containers/${own}/exec`, `${body},"Privileged":true,"Privileged":false}`),
      /^HTTP\/1\.1 200/,
    );
    assert.equal(reached.at(-1)?.body, `${body},"Privileged":false}`);
    for (const key of ['"privileged":true', '"PRIVILEGED":true', '"User":"root"', '"User":"0"', '"user":"0"'])
      assert.match(await post(`/containers/${own}/exec`, `${body},${key}}`), /^HTTP\/1\.1 403/);
  });

  test('bounds bodies, those in chunks too', async () => {
    assert.match(await post('/containers/create', `"${'x'.repeat(2 ** 20)}"`), /^HTTP\/1\.1 413/);
    const chunk = `10000\r\n${'x'.repeat(2 ** 16)}\r\n`;
    const answer = await ask(
      'POST /containers/create',
      'Transfer-Encoding: chunked\r\n',
      `${chunk.repeat(17)}0\r\n\r\n`,
    );
    assert.match(answer, /^(HTTP\/1\.1 413|$)/);
    assert.deepEqual(lines(), []);
  });

  test('streams both ways after its own start, and what follows the body is stream', async () => {
    const body = '{"hijack":true,"Tty":false,"abortSignal":{}}';
    const headers = `Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: ${body.length}\r\n`;
    const more = 'DELETE /containers/x HTTP/1.1\r\n\r\n';
    const socket = connect(guard.socket);
    socket.write(`POST /exec/${exec}/start HTTP/1.1\r\nHost: a\r\n${headers}\r\n${body}`);
    socket.end(more);
    const answer = await text(socket);
    assert.match(answer, /^HTTP\/1\.1 101 UPGRADED\r\n/);
    assert.ok(answer.endsWith(`\r\n\r\n${more}`));
    assert.equal(lines().at(-1), `POST /exec/${exec}/start`);
    assert.equal(reached.at(-1)?.body, '{"Detach":false,"Tty":false}');
  });

  test('shows nothing but Berth’s own in lists and events', async () => {
    await ask('GET /containers/json?all=true');
    await ask('GET /events?filters=%7B%22type%22:%5B%22secret%22%5D,%22label%22:%5B%22other%22%5D%7D');
    await ask('GET /volumes?filters=%7B%22label%22:%5B%22berth.instance=abc%22%5D%7D');
    const asked = reached.map(({ line }) => decodeURIComponent(line.split(' ')[1] ?? ''));
    assert.deepEqual(asked, [
      '/containers/json?all=true&filters={"label":["berth.instance"]}',
      '/events?filters={"label":["other","berth.instance"],"type":["container"]}',
      '/volumes?filters={"label":["berth.instance=abc"]}',
    ]);
  });

  test('lets go of the engine when a client goes', async () => {
    const socket = connect(guard.socket);
    const body = '{"Tty":false}';
    socket.write(
      `POST /exec/${exec}/start HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await new Promise((resolve) => socket.once('data', resolve));
    const before = await connections();
    socket.destroy();
    while ((await connections()) >= before) await new Promise((resolve) => setTimeout(resolve, 10));
  });

  function connections(): Promise<number> {
    return new Promise((resolve, reject) => engine.getConnections((error, n) => (error ? reject(error) : resolve(n))));
  }
});
