import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { degraded } from '../../src/sandbox/session/plain/degraded.ts';
import { shellCases } from '../contract/shell-cases.ts';
import { openSession, type RawSession } from '../support/raw.ts';
import { ServerProcess } from '../support/server-process.ts';
import { expected, seen } from '../support/shell-steps.ts';

/** Sandboxes without a session host, as a client has them: through the endpoint, on real containers. */

const ok = { run: 'echo ok', out: 'ok\n' };

async function fields(session: RawSession, tool: string, args: Record<string, unknown> = {}) {
  const { result, error } = await session.call(tool, args);
  assert.equal(error, undefined);
  assert.equal(result?.isError ?? false, false, JSON.stringify(result?.content));
  return result?.structuredContent ?? {};
}

describe('with shell.host: off', { concurrency: 3 }, () => {
  let server: ServerProcess;
  const open = () => openSession({ mcp: `${server.url}/mcp` });
  before(async () => {
    server = await ServerProcess.start({ BERTH_SESSION__TEMPLATE: 'base', BERTH_SHELL__HOST: 'off' });
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
  });

  for (const { name, steps } of shellCases.filter(({ needsHost }) => !needsHost)) {
    test(name, async () => {
      const session = await open();
      for (const step of steps) {
        if (step.after !== undefined) await sleep(step.after * 1000);
        assert.deepEqual(await seen(session, step), expected(step), step.run.slice(0, 200));
      }
      assert.equal((await session.delete()).status, 200);
    });
  }

  test('the status says what is missing', async () => {
    const session = await open();
    const step = { run: 'head -c 10 /proc/1/cmdline', out: '/bin/sh\0-c' };
    assert.deepEqual(await seen(session, step), expected(step));
    assert.deepEqual((await fields(session, 'sandbox_status'))['degraded'], degraded);
    await session.delete();
  });

  test('file tools work', async () => {
    const session = await open();
    await fields(session, 'upload_file', { path: 'a.txt', content: 'one\n' });
    const step = { run: 'cat a.txt', out: 'one\n' };
    assert.deepEqual(await seen(session, step), expected(step));
    await session.delete();
  });

  test('a terminal takes input, a size and signals, and ends with its exit code', async () => {
    const session = await open();
    const { sessionId } = await fields(session, 'start_shell_session', { cols: 70, rows: 20 });
    const type = (input: string) => fields(session, 'send_shell_input', { sessionId, input });
    const read = async (args: Record<string, unknown>) =>
      (await fields(session, 'read_shell_output', { sessionId, ...args }))['metadata'] as Record<string, unknown>;
    const until = async (pattern: string) => (await read({ until: pattern, wait: 10 }))['matched'];
    await type('stty size; tty');
    assert.equal(await until('20 70\\s+/dev/pts/\\d'), true);
    await type('sleep 100; echo code=$?');
    await sleep(300);
    await fields(session, 'send_shell_input', { sessionId, keys: ['ctrl-c'] });
    await type('echo after=$((1+1))');
    assert.equal(await until('after=2'), true);
    await type('exit 7');
    let last = await read({ wait: 1 });
    for (let tries = 0; !last['exited'] && tries < 10; tries++) last = await read({ wait: 1 });
    assert.equal(last['exitCode'], 7);
    await session.delete();
  });

  test('an ended terminal leaves no process', async () => {
    const session = await open();
    const { sessionId } = await fields(session, 'start_shell_session', { command: 'sleep 4242' });
    await fields(session, 'end_shell_session', { sessionId });
    const step = { run: 'pgrep -f "[s]leep 4242"', code: 1 };
    assert.deepEqual(await seen(session, step), expected(step));
    await session.delete();
  });
});

test('an image without bash has its own shell', async () => {
  await using server = await ServerProcess.start({
    BERTH_SESSION__TEMPLATE: 'base',
    BERTH_SHELL__HOST: 'off',
    BERTH_SHELL__DEFAULT_SHELL: '/bin/no-bash',
  });
  const session = await openSession({ mcp: `${server.url}/mcp` });
  const steps = [
    { run: "cd /tmp; x='it''s'; f() { echo \"f $x\"; }; false", code: 1 },
    { run: 'echo $?; f; pwd; echo e >&2', out: '1\nf its\n/tmp\n', err: 'e\n' },
    { run: 'cat <<E\na\nE', out: 'a\n' },
    { run: "printf 'a\\0b\\377'; exit 3", out: Buffer.from('a\0b\xff', 'latin1'), code: 3, restarted: true },
    { run: 'pwd; sleep 50', out: '/tmp\n', code: 130, status: 'timeout' as const, timeout: 1 },
    ok,
  ];
  for (const step of steps) assert.deepEqual(await seen(session, step), expected(step), step.run);
  await session.delete();
});

test('a server that was killed finds its sandbox again, with a new shell that says so and nothing left running', async () => {
  await using server = await ServerProcess.start({ BERTH_SESSION__TEMPLATE: 'base', BERTH_SHELL__HOST: 'off' });
  const session = await openSession({ mcp: `${server.url}/mcp` });
  const started = { run: 'x=1; echo kept >f; sleep 4242 >/dev/null 2>&1 &' };
  assert.deepEqual(await seen(session, started), expected(started));
  await fields(session, 'start_shell_session', { command: 'sleep 4343' });
  await server.kill('SIGKILL');
  await server.start();
  const next = { run: 'echo "$x"; cat f; pgrep -f "[s]leep 4[23]4[23]"', out: '\nkept\n', code: 1, restarted: true };
  assert.deepEqual(await seen(session, next), expected(next));
  assert.deepEqual(await seen(session, ok), expected(ok));
  await session.delete();
});

describe('where the session host can’t run', () => {
  for (const [why, mode] of [
    ['of another architecture', '755'],
    ['not to be executed', '644'],
  ] as const) {
    test(`a host ${why} is done without`, async () => {
      const tag = `berth-test/host-${mode}:latest`;
      const directory = mkdtempSync(join(tmpdir(), 'berth-host-'));
      writeFileSync(join(directory, 'session-host'), '\x7fELF is not all it takes');
      execFileSync('chmod', [mode, join(directory, 'session-host')]);
      writeFileSync(
        join(directory, 'Dockerfile'),
        `FROM berth/session-host:latest\nCOPY session-host /opt/berth/session-host\n`,
      );
      execFileSync('docker', ['build', '-q', '-t', tag, directory], { stdio: 'ignore' });
      rmSync(directory, { recursive: true });
      try {
        await using server = await ServerProcess.start({
          BERTH_SESSION__TEMPLATE: 'base',
          BERTH_DOCKER__HOST_IMAGE: tag,
        });
        for (let sandbox = 0; sandbox < 2; sandbox++) {
          const session = await openSession({ mcp: `${server.url}/mcp` });
          assert.deepEqual(await seen(session, ok), expected(ok));
          assert.deepEqual((await fields(session, 'sandbox_status'))['degraded'], degraded);
          await session.delete();
        }
      } finally {
        execFileSync('docker', ['rmi', '-f', tag], { stdio: 'ignore' });
      }
    });
  }
});
