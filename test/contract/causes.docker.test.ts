import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { diagnosed } from '../../src/sandbox/intercept/diagnosis/diagnosed.ts';
import { withCallContext } from '../../src/sandbox/call-context.ts';
import { Diagnosis } from '../../src/sandbox/intercept/diagnosis/diagnose.ts';
import type { Container, Runtime } from '../../src/sandbox/ports/runtime.ts';
import type { ShellPort, Workspace } from '../../src/sandbox/ports/workspace.ts';
import { MiB, newInstance, sweep, testRuntime } from '../support/docker-runtime.ts';
import { shellSandbox, type ShellSandbox } from '../support/shell-sandbox.ts';

const isRoot = process.getuid?.() === 0;
const limits = { memory: 128 * MiB, cpus: 1, pids: 64, tmp: 16 * MiB, shm: 4 * MiB, nofile: 1024 };

/** The container, with a count of the processes started in it. */
function counted(container: Container): { container: Pick<Container, 'exec' | 'usage'>; execs: () => number } {
  let execs = 0;
  const exec: Container['exec'] = (argv, options) => {
    execs += 1;
    return container.exec(argv, options);
  };
  return { container: { exec, usage: (signal) => container.usage(signal) }, execs: () => execs };
}

describe('the cause of a failed command', { timeout: 120_000 }, () => {
  const instance = newInstance();
  const directory = mkdtempSync(join(tmpdir(), 'berth-causes-'));
  let runtime: Runtime;
  let sandbox: ShellSandbox;
  let shell: ShellPort;
  let execs: () => number;

  before(async () => {
    runtime = testRuntime({ instance, quota: { mode: isRoot ? 'loop' : 'none', directory, reserve: 0 } });
    sandbox = await shellSandbox(runtime, {
      limits,
      volume: { name: `berth-${instance}-causes`, labels: {}, size: 32 * MiB },
    });
    const watched = counted(sandbox.container);
    execs = watched.execs;
    const connected = ['web', 'lab'];
    const around = { container: watched.container, template: 'small', network: 'none', limits, connected };
    const workspace = { handle: 'sb', shell: sandbox.host.shell, status: async () => ({}) } as unknown as Workspace;
    shell = diagnosed(workspace, new Diagnosis(around)).shell;
  });
  after(async () => {
    await sandbox[Symbol.asyncDispose]();
    await runtime[Symbol.asyncDispose]();
    await sweep(instance);
    rmSync(directory, { recursive: true });
  });

  const causeOf = async (command: string) => (await shell.run(command, { timeout: 60 })).cause;

  test('is not looked for where a command succeeds or fails for its own reasons', async () => {
    for (const command of [
      'echo No space left on device, Killed',
      'grep nothing /etc/passwd',
      'false',
      'ls /nowhere',
      'exit 3',
    ])
      assert.equal(await causeOf(command), undefined, command);
    assert.equal(execs(), 0);
  });

  test('is memory, with the limit, when a process outgrows it', async () => {
    const cause = await causeOf('sleep 30 & python3 -c "x = bytearray(400 << 20)"; code=$?; kill %1; exit $code');
    assert.equal(cause?.code, 'out_of_memory');
    assert.match(
      cause.message,
      /^The sandbox ran out of memory: its limit is 128 MiB, and the kernel killed a process\. The largest process now is /,
    );
  });

  test('is memory when the shell itself is the victim', async () => {
    const result = await shell.run('x=$(head -c 100M /dev/zero | tr "\\0" x); y=$x$x$x; echo ${#y}', { timeout: 60 });
    assert.equal(result.cause?.code, 'out_of_memory');
    assert.equal(result.shellRestarted, true);
  });

  test('is not memory when the process was killed by somebody', async () => {
    assert.equal(await causeOf('sleep 30 & kill -9 $!; wait $!'), undefined);
  });

  test('is memory, once more, by what is kept in /tmp', async () => {
    const result = await shell.run('head -c 14M /dev/zero > /tmp/big; python3 -c "x = bytearray(400 << 20)"');
    await shell.run('rm /tmp/big');
    assert.match(result.cause?.message ?? '', /\/tmp counts as memory and holds 14 MiB\.$/);
  });

  test('is not the memory that ran out before this server came', async () => {
    const around = { container: sandbox.container, template: 'small', network: 'none', limits };
    const failure = { command: 'x', exitCode: 137, stdout: '', stderr: '' };
    assert.equal((await new Diagnosis(around).explain(failure, 0))?.code, 'out_of_memory', 'the control');
    const later = new Diagnosis(around);
    await later.learn();
    assert.equal(await later.explain(failure, 0), undefined);
  });

  test('is the disk, with the biggest directories', { skip: !isRoot && 'needs a bounded workspace' }, async () => {
    const cause = await causeOf(
      'mkdir -p deep/er small && head -c 3M /dev/zero > small/a; head -c 64M /dev/zero > deep/er/a',
    );
    await shell.run('rm -rf deep small');
    assert.equal(cause?.code, 'disk_full');
    assert.match(
      cause.message,
      /^\/workspace is full: 2\d MiB of 2\d MiB are used\. The biggest directories are \/workspace\/deep \(2\d MiB\), \/workspace\/deep\/er \(2\d MiB\), \/workspace\/small \(3 MiB\)/,
    );
  });

  test('is the disk when no more files can be made', { skip: !isRoot && 'needs a bounded workspace' }, async () => {
    const cause = await causeOf('mkdir many; i=0; while : > many/$((i += 1)); do :; done; exit 1');
    await shell.run('rm -rf many');
    assert.equal(cause?.code, 'disk_full');
    assert.match(cause.message, /no more files can be made/);
  });

  test('is the want of root where apt, dpkg or sudo is tried', async () => {
    for (const command of [
      'apt-get install -y cowsay',
      'apt install cowsay',
      'apt-get update',
      'dpkg -i /x.deb',
      'sudo ls',
    ]) {
      const cause = await causeOf(command);
      assert.equal(cause?.code, 'unsupported', command);
      assert.match(cause.message, /^There is no root in this sandbox/);
    }
  });

  const mapped = (keep: boolean) =>
    `python3 -c "import mmap, os; f = open('/dev/shm/big', 'w+b'); f.truncate(16 << 20); m = mmap.mmap(f.fileno(), 0); ${keep ? '' : "os.unlink('/dev/shm/big'); "}m.write(bytes(16 << 20))"`;

  test('is /dev/shm, with its size, when a process outgrows it', async () => {
    const cause = await causeOf(mapped(true));
    await shell.run('rm -f /dev/shm/big');
    assert.equal(cause?.code, 'disk_full');
    assert.match(
      cause.message,
      /^A process died of a bus error \(SIGBUS\): \/dev\/shm is full: 4 MiB of 4 MiB are used\./,
    );
    assert.match(cause.message, /the template’s shm is its size/);
  });

  test('is most likely /dev/shm after its file is gone', async () => {
    const cause = await causeOf(mapped(false));
    assert.match(cause?.message ?? '', /most often because shared memory outgrew \/dev\/shm: 4 MiB of 4 MiB are free/);
  });

  test('is the disk when it is /tmp', async () => {
    const cause = await causeOf('head -c 64M /dev/zero > /tmp/a; code=$?; echo; exit $code');
    await shell.run('rm /tmp/a');
    assert.deepEqual(cause, { code: 'disk_full', message: '/tmp is full: 16 MiB of 16 MiB are used.' });
  });

  test('is the number of processes', async () => {
    const cause = await causeOf('for i in {1..100}; do sleep 2 & done; wait; exit 1');
    assert.equal(cause?.code, 'pids_limit');
    assert.match(cause.message, /^The sandbox reached its limit of 64 processes and threads; \d+ exist now\./);
    await shell.run('kill $(jobs -p)').catch(() => {});
  });

  test('is the network that is not there, with the host', async () => {
    assert.deepEqual(await causeOf('curl -sS https://example.org/simple/'), {
      code: 'egress_denied',
      message:
        'This sandbox has no network (template small), so example.org could not be reached. The operator can add a template with network: allow-list and the host in allow_hosts.',
    });
    assert.match(
      (await causeOf('git clone https://github.com/a/b.git'))?.message ?? '',
      /so github\.com could not be reached/,
    );
    const python = 'python3 -c "import urllib.request; urllib.request.urlopen(\'http://example.org/\')"';
    assert.match((await causeOf(python))?.message ?? '', /so example\.org could not be reached/);
  });

  test('is the network that is not there, with the templates that have one and are for the caller', async () => {
    const told = async (templates?: readonly string[]) => {
      const principal = { id: 'key:ann', ...(templates && { templates }) };
      const call = { requestId: '1', principal, secrets: [], tool: 'execute_command' };
      const cause = await withCallContext(call, () => causeOf('curl -sS https://example.org/'));
      return /could not be reached\. (.*?)(, or the operator can add.*)?$/.exec(cause?.message ?? '')?.[1];
    };
    assert.equal(await told(), 'A sandbox from one of the templates web, lab has a network (create_sandbox)');
    assert.equal(await told(['small', 'web']), 'A sandbox from template web has a network (create_sandbox)');
    assert.match((await told(['small'])) ?? '', /^The operator can add a template with network: allow-list/);
  });

  test('is told again to who asks later, without another look', async () => {
    const started = await shell.run('sleep 0.5; head -c 64M /dev/zero > /tmp/a', { wait: 0.1 });
    let first = await shell.check(started.commandId, { wait: 5 });
    while (first.status === 'running')
      first = await shell.check(started.commandId, { wait: 5, errOffset: first.stderr.next });
    const looks = execs();
    const second = await shell.check(started.commandId);
    assert.equal(first.cause?.code, 'disk_full');
    assert.deepEqual(second.cause, first.cause);
    assert.equal(execs(), looks);
    await shell.run('rm /tmp/a');
  });
});

test('a sandbox cannot make up facts that are no facts', async () => {
  const { parseFacts } = await import('../../src/sandbox/intercept/diagnosis/facts.ts');
  const hostile =
    'oom_kill\t-5\nlargest\t1\t\u001b[31m\tevil\u001b]0;x\u0007\nfill\t/tmp\tx\ty\ndirectory\t9e99\t/a\u0000b\n';
  assert.deepEqual(parseFacts(hostile), {
    oomKills: 0,
    forksRefused: 0,
    largest: { pid: 1, name: 'evil?]0;x?', bytes: 0 },
    fills: [{ path: '/tmp', size: 0, used: 0, filesFull: false }],
    directories: [{ path: '/a?b', bytes: 0 }],
  });
});
