import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Runtime } from '../../src/sandbox/ports/runtime.ts';
import { newInstance, sweep, testRuntime } from '../support/docker-runtime.ts';
import { shellSandbox, type ShellSandbox } from '../support/shell-sandbox.ts';

const instance = newInstance();
let runtime: Runtime;
let sandbox: ShellSandbox;

const program = `
import asyncio, socket, struct
async def echo(reader, writer):
    while part := await reader.read(65536):
        writer.write(part)
        await writer.drain()
    writer.close()
async def reset(reader, writer):
    await reader.read(1)
    writer.get_extra_info('socket').setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    writer.close()
async def count(reader, writer):
    n = 0
    while part := await reader.read(65536): n += len(part)
    writer.write(b'%d' % n)
    writer.close()
async def main():
    for port, what in [(7000, echo), (7001, reset), (7002, count)]:
        await asyncio.start_server(what, '127.0.0.1', port, backlog=1000)
    await asyncio.start_unix_server(echo, '/workspace/echo.sock')
    print('ready', flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
`;

before(async () => {
  runtime = testRuntime({ instance });
  sandbox = await shellSandbox(runtime);
  const { shell } = sandbox.host;
  await shell.run(`cat > p.py <<'END'\n${program}\nEND\ncoproc python3 p.py; read -r <&"\${COPROC[0]}"`);
});

after(async () => {
  await sandbox?.[Symbol.asyncDispose]();
  await runtime[Symbol.asyncDispose]();
  await sweep(instance);
});

const codeOf = (code: string) => (error: NodeJS.ErrnoException) => error.code === code;

async function echoed(stream: Duplex, bytes: Buffer): Promise<Buffer> {
  stream.end(bytes);
  return await buffer(stream);
}

describe('connections to programs in a real container without a network', () => {
  test('bytes both ways, by IPv4, over TCP and by a Unix socket', async () => {
    for (const target of [7000, '/workspace/echo.sock']) {
      const bytes = randomBytes(3_000_001);
      const back = await echoed(await sandbox.host.ports.dial(target), bytes);
      assert.equal(
        createHash('sha256').update(back).digest('hex'),
        createHash('sha256').update(bytes).digest('hex'),
        String(target),
      );
    }
  });

  test('a refusal, a reset and a half-close are told apart', async () => {
    const { ports } = sandbox.host;
    await assert.rejects(ports.dial(7009), codeOf('ECONNREFUSED'));
    await assert.rejects(ports.dial('/workspace/none.sock'), codeOf('ECONNREFUSED'));
    const reset = await ports.dial(7001);
    reset.write('x');
    await assert.rejects(text(reset), codeOf('ECONNRESET'));
    assert.equal(String(await echoed(await ports.dial(7002), Buffer.alloc(500_000))), '500000');
  });

  test('hundreds at once, and the shell beside them', async () => {
    const { ports, shell } = sandbox.host;
    const streams = await Promise.all(Array.from({ length: 300 }, () => ports.dial(7000)));
    const [ran, ...back] = await Promise.all([
      shell.run('echo here'),
      ...streams.map((stream, i) => echoed(stream, Buffer.from(`number ${i}`))),
    ]);
    assert.equal(Buffer.from(ran.stdout.head).toString(), 'here\n');
    assert.deepEqual(
      back.map(String),
      streams.map((_, i) => `number ${i}`),
    );
  });

  test('a reader that reads nothing holds a window and no more', async () => {
    const { ports } = sandbox.host;
    const stream = await ports.dial(7000);
    let taken = 0;
    for (let i = 0; i < 200 && taken === i; i += 1) {
      const { promise, resolve } = Promise.withResolvers<boolean>();
      stream.write(Buffer.alloc(65_536), () => resolve(true));
      taken += Number(await Promise.race([promise, sleep(300, false)]));
    }
    assert.ok(taken < 200, 'the writer was never held back');
    assert.ok(stream.readableLength <= 400_000, String(stream.readableLength));
    stream.destroy();
  });

  test('what listens has a program, and is told when it comes', async () => {
    const { ports, shell } = sandbox.host;
    const listed = (await ports.list()).find(({ port }) => port === 7000);
    assert.deepEqual([listed?.program, listed?.loopback], ['python3', true]);
    assert.equal(await ports.waitFor(7004, AbortSignal.timeout(50)), false);
    const came = ports.waitFor(7004, AbortSignal.timeout(20_000));
    await shell.run(`python3 -m http.server 7004 >/dev/null 2>&1 &`);
    assert.equal(await came, true);
    assert.equal(ports.latest().find(({ port }) => port === 7004)?.loopback, false);
  });

  test('another server’s connection ends those of the one before', async () => {
    await using other = await shellSandbox(runtime);
    await other.host.shell.run('python3 -m http.server 7000 >/dev/null 2>&1 & sleep 1');
    const stream = await other.host.ports.dial(7000);
    const second = await other.connect();
    await assert.rejects(text(stream), codeOf('ECONNRESET'));
    await second[Symbol.asyncDispose]();
  });
});
