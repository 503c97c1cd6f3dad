import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { startGuard } from '../../src/guard/guard.ts';
import { testPolicy } from '../support/guarded.ts';

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'berth-place-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

const guardAt = (socket: string) =>
  startGuard({ socket, engine: '/nonexistent/engine', policy: testPolicy, refused: () => {} });

async function refused(socket: string, code: string, message: string): Promise<void> {
  await assert.rejects(guardAt(socket), { name: 'AppError', code, message: `guard.socket: ${message}` });
}

async function statusAt(socket: string): Promise<number | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  get({ socketPath: socket, path: '/nonsense' }, (answer) => resolve(answer.resume().statusCode)).on('error', reject);
  return await promise;
}

test('a guard without a directory for its socket says so', async (t) => {
  const gone = join(directory(t), 'gone');
  await refused(
    join(gone, 'guard.sock'),
    'invalid_argument',
    `the directory ${gone} does not exist; make it, or set guard.socket.`,
  );
});

test('a second guard at the same socket is refused, and the first goes on', async (t) => {
  const socket = join(directory(t), 'guard.sock');
  await using _first = await guardAt(socket);
  await refused(socket, 'conflict', `another guard listens at ${socket}; end it, or set guard.socket.`);
  assert.equal(await statusAt(socket), 403);
});

test('a guard takes the place of one that was killed', async (t) => {
  const socket = join(directory(t), 'guard.sock');
  const script = 'require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))';
  await once(spawn(process.execPath, ['--eval', script, socket], { stdio: 'ignore' }), 'exit');
  assert.ok(statSync(socket).isSocket());
  await using guard = await guardAt(socket);
  assert.equal(await statusAt(socket), 403);
  await guard[Symbol.asyncDispose]();
  assert.equal(existsSync(socket), false);
});

test('what is no socket stays where it is', async (t) => {
  const path = directory(t);
  const file = join(path, 'file');
  writeFileSync(file, 'kept');
  mkdirSync(join(path, 'directory'));
  for (const one of [file, join(path, 'directory')])
    await refused(one, 'invalid_argument', `expected a path for a socket, got ${one}, where there is something else.`);
  assert.equal(readFileSync(file, 'utf8'), 'kept');
});

test('a path where nobody can listen is one sentence', async (t) => {
  const socket = join(directory(t), 'x'.repeat(120));
  await refused(socket, 'invalid_argument', `expected a path where this user may listen, got ${socket} (EINVAL).`);
});
