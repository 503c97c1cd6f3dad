import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { AppError } from '../../src/errors.ts';
import type { Runtime } from '../../src/sandbox/ports/runtime.ts';
import type { SessionHost } from '../../src/sandbox/session/wire/session-host.ts';
import { afterEnd } from '../../src/sandbox/session/shell/command-end.ts';
import type { CommandPage, Output } from '../../src/sandbox/ports/workspace.ts';
import { newInstance, sweep, testRuntime } from '../support/docker-runtime.ts';
import { shellSandbox } from '../support/shell-sandbox.ts';
import { notes } from '../support/scripted-session.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const instance = newInstance();
let runtime: Runtime;

before(() => {
  runtime = testRuntime({ instance });
});

after(async () => {
  await runtime[Symbol.asyncDispose]();
  await sweep(instance);
});

function shown({ head, tail }: Output): string {
  return Buffer.concat([head, tail]).toString();
}

function numbers(from: number, to: number): string {
  return Array.from({ length: to - from + 1 }, (_, index) => `${from + index}\n`).join('');
}

/** Every page of stdout from an offset on, until the command has ended. */
async function follow(host: SessionHost, id: string): Promise<{ text: string; evicted: number; last: CommandPage }> {
  let text = '';
  let evicted = 0;
  for (let offset = 0; ;) {
    const last = await host.shell.check(id, { offset, wait: 10 });
    text += Buffer.from(last.stdout.bytes).toString();
    evicted += last.stdout.evicted;
    offset = last.stdout.next;
    if (last.status !== 'running' && offset === last.stdout.total) return { text, evicted, last };
  }
}

describe('the shell on a real container', { concurrency: 4 }, () => {
  test('a new server goes on with a running command: every line once, and its exit code', async () => {
    const store = notes();
    await using sandbox = await shellSandbox(runtime);
    await sandbox.host[Symbol.asyncDispose]();
    const first = await sandbox.connect({ store });
    await first.shell.run('cd /tmp; export V=kept; sleep 300 >/dev/null 2>&1 &');
    const script = 'for i in {1..300}; do echo $i; sleep 0.005; done; (exit 7)';
    const call = await first.shell.run(script, { wait: 0.5 });
    assert.equal(call.status, 'running');
    await first[Symbol.asyncDispose]();
    await sleep(300);
    const second = await sandbox.connect({ store });
    const { text, evicted, last } = await follow(second, call.commandId);
    assert.equal(text, numbers(1, 300));
    assert.deepEqual([last.status, last.exitCode, last.command, evicted], ['error', 7, script, 0]);
    assert.equal(shown((await second.shell.run('echo $V $? $PWD; jobs -p | wc -l')).stdout), 'kept 7 /tmp\n1\n');
    await second[Symbol.asyncDispose]();
  });

  test('what the ring dropped while no server was there is counted to the byte', async () => {
    await using sandbox = await shellSandbox(runtime);
    const call = await sandbox.host.shell.run('sleep 0.3; seq 1 700000; sleep 0.5; echo end', { wait: 0.05 });
    await sandbox.host[Symbol.asyncDispose]();
    await sleep(1500);
    const second = await sandbox.connect();
    const { text, evicted, last } = await follow(second, call.commandId);
    const all = `${numbers(1, 700_000)}end\n`;
    assert.equal(last.stdout.total, all.length);
    assert.equal(evicted + text.length, all.length);
    assert.ok(text.length > 900_000 && all.endsWith(text));
    assert.equal(last.exitCode, 0);
    await second[Symbol.asyncDispose]();
  });

  test('a flood that goes on while servers change is followed on', async () => {
    await using sandbox = await shellSandbox(runtime);
    const call = await sandbox.host.shell.run('yes', { wait: 0.1, timeout: 60 });
    await sandbox.host[Symbol.asyncDispose]();
    await sleep(300);
    const second = await sandbox.connect();
    const before = (await second.shell.check(call.commandId)).stdout.total;
    await sleep(300);
    const page = await second.shell.check(call.commandId);
    assert.ok(page.stdout.total > before + 10_000_000, `${page.stdout.total} after ${before}`);
    assert.equal((await second.shell.stop(call.commandId, 'INT')).exitCode, 130);
    await second[Symbol.asyncDispose]();
  });

  test('killing the bridge from inside costs nothing', async () => {
    await using sandbox = await shellSandbox(runtime);
    const result = await sandbox.host.shell.run(
      'echo a; pkill -9 -f "session-host attach"; sleep 0.2; echo b; (exit 4)',
    );
    assert.deepEqual([shown(result.stdout), result.exitCode, result.stdout.dropped], ['a\nb\n', 4, 0]);
    assert.equal(shown((await sandbox.host.shell.run('echo ok')).stdout), 'ok\n');
  });

  test('a container that is removed ends its command with sandbox_lost', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { host } = sandbox;
    const running = host.shell.run('echo part; sleep 100');
    const waiting = host.shell.run('echo never');
    const refused = assert.rejects(
      waiting,
      (error: unknown) => error instanceof AppError && error.code === 'sandbox_lost',
    );
    await sleep(200);
    await sandbox.container.remove();
    const result = await running;
    assert.deepEqual([result.status, result.exitCode, shown(result.stdout)], ['sandbox_lost', null, 'part\n']);
    assert.match(await host.closed, /^its container (ended|is gone)$/);
    await refused;
    assert.equal(host.alive(), false);
  });

  test('calls at once run one after another, in order', async () => {
    await using sandbox = await shellSandbox(runtime);
    const calls = Array.from({ length: 20 }, (_, index) =>
      sandbox.host.shell.run(`echo ${index} >>log; n=$((n+1)); echo $n`),
    );
    const results = await Promise.all(calls);
    assert.deepEqual(
      results.map(({ stdout }) => shown(stdout)),
      Array.from({ length: 20 }, (_, index) => `${index + 1}\n`),
    );
    assert.equal(shown((await sandbox.host.shell.run('cat log')).stdout), numbers(0, 19));
  });

  test('aborting interrupts the command and keeps the shell', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { shell } = sandbox.host;
    await shell.run('x=1');
    const abort = new AbortController();
    const running = shell.run('echo part; sleep 100; echo never', { signal: abort.signal });
    await sleep(200);
    abort.abort();
    const result = await running;
    assert.deepEqual([result.status, result.exitCode, shown(result.stdout)], ['cancelled', 130, 'part\n']);
    assert.equal(shown((await shell.run('echo $x; pgrep -c sleep')).stdout), '1\n0\n');
  });

  for (const [signal, code] of [
    ['INT', 130],
    ['TERM', 143],
    ['KILL', 137],
  ] as const) {
    test(`stop with ${signal} ends a command by ${code}`, async () => {
      await using sandbox = await shellSandbox(runtime);
      const { shell } = sandbox.host;
      const call = await shell.run('sleep 100', { wait: 0.1 });
      const page = await shell.stop(call.commandId, signal);
      assert.deepEqual([page.status, page.exitCode], ['cancelled', code]);
      assert.equal(shown((await shell.run('echo ok')).stdout), 'ok\n');
    });
  }

  test('a command that is taken out of the queue stays known by its name, as cancelled', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { shell } = sandbox.host;
    await shell.run('cd /tmp');
    const first = await shell.run('cd /usr; sleep 1', { wait: 0 });
    const [stopped, reset, kept] = [
      await shell.run('touch /workspace/stopped', { wait: 0 }),
      await shell.run('touch /workspace/reset', { wait: 0 }),
      shell.run('touch /workspace/never'),
    ];
    const refused = assert.rejects(kept, { code: 'cancelled' });
    assert.match(stopped.commandId, /^cmd_q_/);
    assert.deepEqual([stopped.status, stopped.cwd], ['queued', '/tmp']);
    const why = 'The command was cancelled before its turn came; it did not run.';
    const known = async (id: string) => {
      const { status, exitCode, executionTime, cause, background } = await shell.check(id);
      return [status, exitCode, executionTime, cause?.code, cause?.message, background];
    };
    const page = await shell.stop(stopped.commandId, 'INT');
    assert.deepEqual([page.status, page.exitCode, page.cwd], ['cancelled', null, '/tmp']);
    assert.deepEqual(await known(stopped.commandId), ['cancelled', null, 0, 'cancelled', why, false]);
    assert.equal((await shell.check(reset.commandId)).status, 'queued');
    await shell.reset();
    await refused;
    const byReset = 'The shell was reset before this command had its turn; it did not run.';
    assert.deepEqual(await known(reset.commandId), ['cancelled', null, 0, 'cancelled', byReset, false]);
    assert.equal((await shell.stop(reset.commandId, 'KILL')).status, 'cancelled');
    assert.equal((await shell.check(first.commandId)).status, 'cancelled');
    assert.equal(shown((await shell.run('ls /workspace')).stdout), '');
  });

  test('what shrugs off a stop is ended by the next one, or at its time', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { shell } = sandbox.host;
    const deaf = "trap '' INT TERM; while :; do sleep 1; done";
    const call = await shell.run(deaf, { wait: 0.1 });
    assert.equal((await shell.stop(call.commandId, 'INT')).status, 'running');
    assert.equal((await shell.stop(call.commandId, 'KILL')).status, 'cancelled');
    const timed = await shell.run(deaf, { wait: 0.1, timeout: 4 });
    assert.equal((await shell.stop(timed.commandId, 'INT')).status, 'running');
    assert.equal(shown((await shell.run('echo ok')).stdout), 'ok\n');
    assert.equal((await shell.check(timed.commandId)).status, 'cancelled');
  });

  test('in a frozen sandbox a command ends at its time, and none waits behind it for ever', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { shell } = sandbox.host;
    await sandbox.container.pause();
    const first = shell.run('echo never', { timeout: 0.5 });
    const stuck = { code: 'timeout', message: /^The command before this one was interrupted and has not ended/ };
    await assert.rejects(shell.run('echo second'), stuck);
    assert.equal((await first).status, 'timeout');
    await assert.rejects(shell.run('echo third'), stuck);
    await sandbox.container.resume();
    assert.equal(shown((await shell.run('echo fourth')).stdout), 'fourth\n');
  });

  test('stop reaches the background processes of an ended command', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { shell } = sandbox.host;
    const server = await shell.run('(while sleep 0.05; do echo tick; done) & echo up');
    assert.deepEqual([server.status, server.background, shown(server.stdout)], ['success', true, 'up\n']);
    await sleep(200);
    const news = await shell.check(server.commandId, { offset: 3 });
    assert.match(Buffer.from(news.stdout.bytes).toString(), /^(tick\n)+$/);
    const page = await shell.stop(server.commandId, 'TERM');
    assert.deepEqual([page.status, page.background], ['success', false]);
    assert.equal(shown((await shell.run('pgrep -c sleep; jobs -p | wc -l')).stdout), '0\n0\n');
  });

  test('check waits for what the background processes of an ended command write, and for their end', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { shell } = sandbox.host;
    const { commandId, status } = await shell.run('(sleep 1; echo late; sleep 1) & echo now');
    assert.equal(status, 'success');
    assert.equal((await shell.check(commandId, { offset: 4 })).stdout.total, 4);
    const late = await shell.check(commandId, { offset: 4, wait: 5 });
    assert.deepEqual([Buffer.from(late.stdout.bytes).toString(), late.background], ['late\n', true]);
    const began = performance.now();
    const over = await shell.check(commandId, { offset: 9, wait: 5 });
    assert.deepEqual([over.stdout.total, over.background], [9, false]);
    assert.ok(performance.now() - began < 4000);
    const at = performance.now();
    assert.equal((await shell.check(commandId, { offset: 9, wait: 5 })).background, false);
    assert.ok(performance.now() - at < 1000, 'nothing more can come');
  });

  test("one who waits for a command's end alone does not wait for its background processes", async () => {
    await using sandbox = await shellSandbox(runtime);
    const { shell } = sandbox.host;
    const began = performance.now();
    const { commandId } = await shell.run('sleep 10 & sleep 0.5; echo up', { wait: 0.1 });
    const page = await afterEnd(shell, commandId, 9);
    assert.deepEqual([page?.status, page?.background], ['success', true]);
    assert.equal((await afterEnd(shell, commandId, 9))?.status, 'success');
    assert.ok(performance.now() - began < 5000);
  });

  test('pages say what is no longer held', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { shell } = sandbox.host;
    const call = await shell.run('seq 1 500000');
    const all = numbers(1, 500_000);
    assert.deepEqual([call.stdout.total, call.stdout.omitted], [all.length, all.length - 49_152]);
    const first = await shell.check(call.commandId, { offset: 100 });
    assert.equal(Buffer.from(first.stdout.bytes).toString(), all.slice(100, 16_384));
    const next = await shell.check(call.commandId, { offset: first.stdout.next });
    assert.deepEqual(
      [next.stdout.evicted, next.stdout.offset],
      [all.length - 1_048_576 - 16_384, all.length - 1_048_576],
    );
    assert.equal(Buffer.from(next.stdout.bytes).toString(), all.slice(next.stdout.offset, next.stdout.next));
  });

  test('output is reported as it comes', async () => {
    await using sandbox = await shellSandbox(runtime);
    const seen: string[] = [];
    const onOutput = (stream: string, bytes: Uint8Array) =>
      void seen.push(`${stream} ${Buffer.from(bytes).toString()}`);
    await sandbox.host.shell.run('echo a; sleep 0.1; echo b >&2; sleep 0.1; echo c', { onOutput });
    assert.deepEqual(seen, ['stdout a\n', 'stderr b\n', 'stdout c\n']);
  });

  test('a reset leaves nothing of the old shell', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { shell } = sandbox.host;
    await shell.run(
      'cd /tmp; x=1; f() { :; }; alias g=ls; set -f; umask 077; sleep 300 & disown; touch /workspace/kept',
    );
    await shell.run('setsid sleep 300 >/dev/null 2>&1 &');
    const running = shell.run('sleep 300');
    await sleep(100);
    await shell.reset();
    assert.equal((await running).status, 'cancelled');
    const state = await shell.run('pwd; echo "[$x]"; type f g; echo $-; umask; pgrep -c sleep; ls /workspace');
    assert.equal(
      shown(state.stdout),
      '/workspace\n[]\nhimBCs\n0022\n0\nkept\n'.replace('himBCs', shown(state.stdout).split('\n')[2] ?? ''),
    );
    assert.doesNotMatch(shown(state.stdout).split('\n')[2] ?? 'f', /f/);
    assert.equal(shown(state.stderr), 'bash: type: f: not found\nbash: type: g: not found\n');
    assert.equal(state.shellRestarted, false);
  });

  test('a command whose shell is gone before it is read is run by the next one', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { shell } = sandbox.host;
    for (let count = 0; count < 20; count++) {
      const dying = shell.run('kill -9 $$');
      const next = shell.run(`echo ${count}`);
      assert.equal((await dying).exitCode, 137);
      assert.equal(shown((await next).stdout), `${count}\n`);
    }
  });

  test('work is counted: a running command, what it left behind, nothing', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { host } = sandbox;
    assert.deepEqual(await host.activity(), { running: false, processes: 0, watched: 0 });
    const call = await host.shell.run('sleep 100', { wait: 0.05 });
    assert.equal((await host.activity()).running, true);
    await host.shell.stop(call.commandId, 'INT');
    await host.shell.run('sleep 100 >/dev/null 2>&1 &');
    assert.deepEqual(await host.activity(), { running: false, processes: 1, watched: 0 });
    await host.shell.run('kill %1; wait');
    await host.terminals.start();
    await sleep(200);
    assert.deepEqual(await host.activity(), { running: false, processes: 0, watched: 0 });
  });
});

/** Bytes in use after a collection. */
async function heldBytes(): Promise<number> {
  collect();
  await sleep(50);
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

test('a gigabyte of output leaves the server as small as it was', async () => {
  await using sandbox = await shellSandbox(runtime);
  await sandbox.host.shell.run('head -c 300000000 /dev/zero');
  const held = await heldBytes();
  const resident = process.memoryUsage.rss();
  const result = await sandbox.host.shell.run('head -c 1000000000 /dev/zero', { timeout: 100 });
  const growth = process.memoryUsage.rss() - resident;
  assert.equal(result.stdout.total, 1_000_000_000);
  const more = (await heldBytes()) - held;
  assert.ok(more < 4_000_000, `${more} bytes more are held`);
  assert.ok(growth < 64 * 1024 ** 2, `${growth} bytes more are resident`);
});
