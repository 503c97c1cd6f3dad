import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkReserve } from '../../src/runtimes/docker/quota/reserve.ts';
import { findEngine } from '../../src/runtimes/docker/address.ts';
import { Engine } from '../../src/runtimes/docker/client.ts';
import type { QuotaMode } from '../../src/runtimes/docker/quota/choose.ts';
import type { Container, Runtime } from '../../src/sandbox/ports/runtime.ts';
import { engine, MiB, newInstance, specOf, sweep, testRuntime } from '../support/docker-runtime.ts';
import { run, sh } from '../support/run.ts';

const isRoot = process.getuid?.() === 0;
const size = 32 * MiB;

describe('workspaces within their size', { timeout: 120_000 }, () => {
  const instance = newInstance();
  const directory = mkdtempSync(join(tmpdir(), 'berth-quota-'));
  const images = join(directory, 'workspaces');
  const runtimeWith = (mode: QuotaMode) => testRuntime({ instance, quota: { mode, directory, reserve: 0 } });
  const attached = () =>
    execFileSync('losetup', ['--all', '--output', 'BACK-FILE', '--noheadings'], { encoding: 'utf8' });
  const specFor = (name: string) => {
    const spec = specOf(`berth-${instance}-${name}`);
    return { ...spec, volume: { ...spec.volume, size } };
  };

  after(async () => {
    await sweep(instance);
    rmSync(directory, { recursive: true });
  });

  describe('on loop devices', { skip: !isRoot && 'needs root on the engine’s host' }, () => {
    let runtime: Runtime;
    let container: Container;
    const spec = specFor('loop');
    before(async () => {
      runtime = runtimeWith('loop');
      container = await runtime.open(spec);
    });
    after(() => runtime[Symbol.asyncDispose]());

    test('are what was asked for', async () => {
      const { kind, bounded } = await runtime.quota();
      assert.deepEqual({ kind, bounded }, { kind: 'loop', bounded: true });
    });

    test('belong to the sandbox’s user and are empty', async () => {
      assert.equal(await sh(container, 'stat -c "%u:%g %a" /workspace; ls -A /workspace'), '1000:1000 755\n');
    });

    test('end at their size, and take up on the host what they hold', async () => {
      const { stderr } = await run(container, ['dd', 'if=/dev/zero', 'of=/workspace/full', 'bs=1M', 'count=64']);
      assert.match(stderr, /No space left on device/);
      const held = Number(await sh(container, 'stat -c %s /workspace/full'));
      assert.ok(held >= 20 * MiB && held < size, `${held} bytes fit`);
      await sh(container, 'rm /workspace/full; sync -f /workspace');
      const taken = () => statSync(join(images, `${spec.volume.name}.img`)).blocks * 512;
      // The file system gives blocks back after its journal has been written.
      for (let tries = 0; tries < 50 && taken() >= 16 * MiB; tries++) await sleep(200);
      assert.ok(taken() < 16 * MiB, `${taken()} bytes are still taken on the host`);
    });

    test('bound the number of files, too', async () => {
      const script =
        'mkdir /workspace/many && cd /workspace/many && i=0; while : > $i; do i=$((i+1)); done; echo $i; rm -rf /workspace/many';
      const { stdout, stderr } = await run(container, ['bash', '-c', script]);
      assert.match(stderr, /No space left on device/);
      assert.ok(Number(stdout) < 40_000, `${stdout} files`);
    });

    test('take no device and no setuid file', async () => {
      const options = await sh(container, "grep ' /workspace ' /proc/mounts");
      assert.match(options, /nosuid,nodev/);
    });

    test('keep their files from one container to the next, and from one server to the next', async () => {
      await sh(container, 'echo kept > /workspace/note');
      await container.remove();
      assert.ok(!attached().includes(spec.volume.name), 'no device outlives the last container');
      await using other = runtimeWith('loop');
      container = await other.open(spec);
      assert.equal(await sh(container, 'cat /workspace/note'), 'kept\n');
      assert.deepEqual(readdirSync(images), [`${spec.volume.name}.img`]);
    });

    test('are found again by their name when the engine has forgotten the volume', async () => {
      await container.remove();
      await engine().getVolume(spec.volume.name).remove();
      assert.deepEqual(await runtime.volumes(), [spec.volume.name]);
      container = await runtime.open(spec);
      assert.equal(await sh(container, 'cat /workspace/note'), 'kept\n');
    });

    test('never lead to another workspace, whatever becomes of a loop device', async () => {
      const second = await runtime.open(specFor('second'));
      await sh(second, 'echo mine > /workspace/note');
      await container.remove();
      const third = await runtime.open(specFor('third'));
      await sh(third, 'echo its > /workspace/note');
      container = await runtime.open(spec);
      assert.equal(await sh(container, 'cat /workspace/note'), 'kept\n');
      assert.equal(await sh(second, 'cat /workspace/note'), 'mine\n');
      for (const one of [second, third]) await one.remove();
    });

    test('start side by side', async () => {
      const specs = Array.from({ length: 6 }, (_, at) => specFor(`many${at}`));
      const opened = await Promise.all(specs.map((one) => runtime.open(one)));
      for (const [at, one] of opened.entries()) await sh(one, `echo ${at} > /workspace/note`);
      for (const [at, one] of opened.entries()) assert.equal(await sh(one, 'cat /workspace/note'), `${at}\n`);
      await Promise.all(opened.map((one) => one.remove()));
      for (const one of specs) await runtime.removeVolume(one.volume.name);
    });

    test('leave nothing when a start fails', async () => {
      const failing = { ...specFor('failing'), image: 'missing/image:1' };
      await assert.rejects(runtime.open(failing), { code: 'image_missing' });
      assert.ok(!existsSync(join(images, `${failing.volume.name}.img`)));
      assert.ok(!attached().includes(failing.volume.name));
    });

    test('are gone when they are removed', async () => {
      await container.remove();
      await runtime.removeVolume(spec.volume.name);
      await runtime.removeVolume(spec.volume.name);
      assert.ok(!existsSync(join(images, `${spec.volume.name}.img`)));
      assert.ok(!(await runtime.volumes()).includes(spec.volume.name));
    });
  });

  test('in memory end at their size', async () => {
    await using runtime = runtimeWith('tmpfs');
    const container = await runtime.open(specFor('tmpfs'));
    assert.equal(await sh(container, 'stat -c "%u:%g" /workspace'), '1000:1000\n');
    const { stderr } = await run(container, ['dd', 'if=/dev/zero', 'of=/workspace/full', 'bs=1M', 'count=64']);
    assert.match(stderr, /No space left on device/);
  });

  test('are refused, in words, where the mechanism asked for does not work', async () => {
    await using runtime = runtimeWith('project');
    const outcome = await runtime.quota().then(
      ({ kind }) => kind,
      (error: Error) => error.message,
    );
    if (outcome === 'project') return;
    assert.equal(
      outcome,
      'workspace.quota: "project" does not work with this engine and host, so no sandbox is started; "auto" takes what does.',
    );
  });

  test('are counted by the engine where nothing bounds them', async () => {
    await using runtime = runtimeWith('watch');
    const spec = specFor('watch');
    const container = await runtime.open(spec);
    await sh(
      container,
      'mkdir /workspace/hidden && dd if=/dev/zero of=/workspace/hidden/a bs=1M count=3 && chmod 0 /workspace/hidden',
    );
    const held = (await runtime.volumeSizes()).get(spec.volume.name) ?? 0;
    assert.ok(held >= 3 * MiB, `${held} bytes seen`);
  });

  test('are not started below the host’s reserve', async () => {
    using client = new Engine(findEngine(process.env), 10);
    const reserve = 2 ** 60;
    await assert.rejects(checkReserve(client, { mode: 'none', directory, reserve }), {
      code: 'disk_full',
      message:
        /^The host has \d+ MiB of disk left, less than its reserve of 1099511627776 MiB, so no sandbox is started/,
    });
    await checkReserve(client, { mode: 'none', directory, reserve: 1 });
  });
});
