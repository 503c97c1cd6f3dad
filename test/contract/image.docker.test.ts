import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { createLogger } from '../../src/log.ts';
import { AppError } from '../../src/errors.ts';
import type { Runtime } from '../../src/sandbox/ports/runtime.ts';
import { engine, newInstance, specOf, sweep, testImage, testRuntime } from '../support/docker-runtime.ts';
import { guardedRuntime, testPolicy } from '../support/guarded.ts';
import { sh } from '../support/run.ts';

/** The test image with more in its configuration. */
async function imageWith(name: string, ...changes: readonly string[]): Promise<void> {
  const docker = engine();
  const container = await docker.createContainer({ Image: testImage, Cmd: ['true'], StopSignal: 'SIGKILL' });
  const [repo, tag] = name.split(':');
  await container.commit({ repo, tag, changes: changes.join('\n') });
  await container.remove();
}

describe('what an image brings', { timeout: 120_000 }, () => {
  const instance = newInstance();
  const full = `berth-test-${instance}:full`;
  const posing = `berth-test-${instance}:posing`;
  const logged: Record<string, unknown>[] = [];
  const sink = new Writable({ write: (chunk, _, done) => (logged.push(JSON.parse(String(chunk))), done()) });
  let runtime: Runtime;

  before(async () => {
    runtime = testRuntime({ instance, log: createLogger({ level: 'warn', format: 'json' }, sink) });
    await imageWith(
      full,
      'VOLUME ["/var/tmp/", "/usr/share/zoneinfo", "/workspace", "/tmp"]',
      'USER root',
      'ENV HOME=/var/tmp',
      'HEALTHCHECK --interval=1s CMD touch /workspace/checked',
      'ENTRYPOINT ["/bin/false"]',
      'LABEL org.example.team=a',
    );
    await imageWith(posing, 'LABEL berth.filler=x');
  });
  after(async () => {
    await runtime[Symbol.asyncDispose]();
    await sweep(instance);
    for (const image of [full, posing]) await engine().getImage(image).remove({ force: true });
  });

  test('its VOLUMEs are in memory, bounded, and nothing of the host’s disk', async () => {
    const name = `berth-${instance}-full`;
    const box = await runtime.open(specOf(name, { image: full }));
    const write = 'head -c 600M /dev/zero > /var/tmp/x 2>/dev/null; du -sm /var/tmp | cut -f1';
    assert.ok(Number(await sh(box, write)) <= 32);
    assert.equal(await sh(box, 'touch /workspace/y /tmp/y && rm /var/tmp/x && echo all'), 'all\n');
    const { Mounts } = await engine().getContainer(name).inspect();
    assert.deepEqual(
      Mounts.filter(({ Type }) => Type === 'volume')
        .map(({ Destination }) => Destination)
        .toSorted(),
      ['/opt/berth', '/workspace'],
    );
    const told = logged.filter(({ event }) => event === 'image.volumes');
    assert.deepEqual(
      told.map(({ image }) => image),
      [full],
    );
  });

  test('its user, environment, health check, stop signal and entry point are not those of the sandbox', async () => {
    const name = `berth-${instance}-own`;
    const box = await runtime.open(specOf(name, { image: full }));
    assert.equal((await sh(box, 'id -u; echo $HOME')).trim(), '1000\n/workspace');
    const { Config } = await engine().getContainer(name).inspect();
    assert.deepEqual(Config.Healthcheck?.Test, ['NONE']);
    assert.equal((Config as { StopSignal?: string }).StopSignal, 'SIGTERM');
    assert.deepEqual(Config.Entrypoint, ['/opt/berth/session-host']);
  });

  test('labels like Berth’s own are refused, and named', async () => {
    await assert.rejects(
      runtime.open(specOf(`berth-${instance}-posing`, { image: posing })),
      (error) => error instanceof AppError && error.code === 'unsupported' && /"berth\.filler"/.test(error.message),
    );
  });

  test('the guard lets no sandbox of such an image through that leaves its VOLUMEs open', async () => {
    const {
      runtime: guardedOne,
      guard,
      instance: own,
    } = await guardedRuntime({
      ...testPolicy,
      templates: testPolicy.templates.map((template) => ({ ...template, image: full })),
    });
    try {
      const name = `berth-${own}-guarded`;
      const box = await guardedOne.open(specOf(name, { image: full }));
      assert.match(await sh(box, 'df --output=fstype /var/tmp'), /tmpfs/);
    } finally {
      await guardedOne[Symbol.asyncDispose]();
      await guard[Symbol.asyncDispose]();
      await sweep(own);
    }
  });
});
