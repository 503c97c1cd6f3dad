import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { hasProgram } from '../../src/setup/apt.ts';
import { complaint, type DaemonPlace, isAlive, startDaemon } from '../../src/setup/dockerd.ts';
import { SetupError } from '../../src/setup/error.ts';
import { Progress } from '../../src/setup/progress.ts';

const skip = process.getuid?.() !== 0 || !hasProgram('dockerd') ? 'needs root and dockerd' : false;

/**
 * A daemon of the test's own, in a network namespace of its own: a second one beside the machine's would take the
 * bridge from it.
 */
const home = mkdtempSync(join(tmpdir(), 'berth-dockerd-'));
const place: DaemonPlace = {
  socket: join(home, 'docker.sock'),
  pidFile: join(home, 'docker.pid'),
  execRoot: join(home, 'exec'),
  logFile: join(home, 'dockerd.log'),
  command: ['unshare', '--net', 'dockerd', `--data-root=${join(home, 'data')}`],
};
const containerd = join(place.execRoot, 'containerd', 'containerd.pid');

const pidIn = (file: string) => Number.parseInt(readFileSync(file, 'utf8'));
const start = async (at: DaemonPlace = place) => {
  await using progress = new Progress(join(home, 'setup.log'));
  await progress.step('start', (step) => startDaemon(step, at));
};

async function kill(file: string, signal: NodeJS.Signals): Promise<void> {
  if (!existsSync(file)) return;
  const pid = pidIn(file);
  process.kill(pid, signal);
  while (existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) {
    await new Promise(setImmediate);
  }
}

describe('a daemon started by hand', { skip }, () => {
  after(async () => {
    if (isAlive(place.pidFile, 'dockerd')) await kill(place.pidFile, 'SIGTERM');
    spawnSync('umount', ['--lazy', join(home, 'data')]);
    rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  });

  test('answers when the start is done', async () => {
    await start();
    assert.equal(isAlive(place.pidFile, 'dockerd'), true);
  });

  test('is left as it is by another start', async () => {
    const before = pidIn(place.pidFile);
    await start();
    assert.equal(pidIn(place.pidFile), before);
  });

  test('starts over what kill -9 left: a pid file, sockets, a containerd', async () => {
    await kill(place.pidFile, 'SIGKILL');
    assert.deepEqual([existsSync(place.pidFile), existsSync(place.socket)], [true, true]);
    await start();
    assert.equal(isAlive(place.pidFile, 'dockerd'), true);
  });

  test('starts when the old pids are some other process’s', async () => {
    await kill(place.pidFile, 'SIGKILL');
    for (const file of [place.pidFile, containerd]) writeFileSync(file, String(process.pid));
    await start();
    assert.notEqual(pidIn(place.pidFile), process.pid);
    assert.equal(isAlive(containerd, 'containerd'), true);
  });

  test('that cannot start is an error with the end of its log', async () => {
    const broken = {
      ...place,
      socket: join(home, 'b.sock'),
      pidFile: join(home, 'b.pid'),
      logFile: join(home, 'b.log'),
    };
    await assert.rejects(start({ ...broken, command: ['dockerd', '--no-such-flag'] }), (error: unknown) => {
      assert.ok(error instanceof SetupError);
      assert.match(error.message, /^Docker did not start: dockerd ended \(\d+\)\./);
      assert.match(error.message, /unknown flag: --no-such-flag/);
      return true;
    });
  });

  test('whose release lists all its flags below its complaint is an error with the complaint', () => {
    const flags = Array.from({ length: 80 }, (_, at) => `      --flag-${at} string   Something`).join('\n');
    const written = `Status: unknown flag: --no-such-flag\nSee 'dockerd --help'.\n\nUsage:\tdockerd [OPTIONS]\n\nOptions:\n${flags}\n\n`;
    assert.equal(complaint(written), "Status: unknown flag: --no-such-flag\nSee 'dockerd --help'.");
  });
});
