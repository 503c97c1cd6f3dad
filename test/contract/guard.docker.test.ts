import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import Docker from 'dockerode';
import { text } from 'node:stream/consumers';
import { Doors } from '../../src/egress/doors.ts';
import { egressWorks } from '../../src/sandbox/network/egress-check.ts';
import type { Container } from '../../src/sandbox/ports/runtime.ts';
import { engine, hostImage, MiB, quiet, specOf, sweep, testImage, testRuntime } from '../support/docker-runtime.ts';
import { guardedRuntime, testGuard, testPolicy } from '../support/guarded.ts';
import { sh } from '../support/run.ts';

/** A server that has been taken over, with the guard's socket in its hands. */
describe('the guard before a real engine', { timeout: 120_000 }, () => {
  let guarded: Awaited<ReturnType<typeof guardedRuntime>>;
  let own: Container;
  let foreign: Docker.Container;
  let foreignVolume: string;

  before(async () => {
    guarded = await guardedRuntime();
    own = await guarded.runtime.open(specOf(`berth-${guarded.instance}-own`));
    foreign = await engine().createContainer({
      Image: testImage,
      Cmd: ['sleep', '600'],
      HostConfig: { NetworkMode: 'none', LogConfig: { Type: 'none', Config: {} } },
    });
    await foreign.start();
    foreignVolume = `berth-${guarded.instance}-foreign`;
    await engine().createVolume({ Name: foreignVolume });
  });
  after(async () => {
    await guarded.runtime[Symbol.asyncDispose]();
    await guarded.guard[Symbol.asyncDispose]();
    await foreign.remove({ force: true });
    await engine().getVolume(foreignVolume).remove();
    await sweep(guarded.instance);
  });

  async function ask(method: string, path: string, body?: object): Promise<{ status: number; message: string }> {
    const headers = { ...(body && { 'content-type': 'application/json' }) };
    const sent = request({ socketPath: guarded.guard.socket, method, path, headers });
    sent.end(body && JSON.stringify(body));
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; message: string }>();
    sent.on('error', reject).on('response', (response) => {
      void text(response).then((json) => {
        const message = json.startsWith('{') ? (JSON.parse(json) as { message?: string }).message : undefined;
        resolve({ status: response.statusCode ?? 0, message: message ?? '' });
      }, reject);
    });
    return await promise;
  }

  function shape(more: object): object {
    const labels = { 'berth.instance': guarded.instance };
    return { Image: testImage, Cmd: ['sh'], Labels: labels, HostConfig: { NetworkMode: 'none', ...more } };
  }

  const attacks: readonly [string, () => Promise<{ status: number; message: string }>][] = [
    ['a privileged container', () => ask('POST', '/containers/create', shape({ Privileged: true }))],
    ['a bind mount of the host', () => ask('POST', '/containers/create', shape({ Binds: ['/:/host'] }))],
    ['a container in the host’s network', () => ask('POST', '/containers/create', shape({ NetworkMode: 'host' }))],
    ['an exec in a foreign container', () => ask('POST', `/containers/${foreign.id}/exec`, execBody())],
    ['an exec as root', () => ask('POST', `/containers/${own.id}/exec`, { ...execBody(), User: '0:0' })],
    ['a privileged exec', () => ask('POST', `/containers/${own.id}/exec`, { ...execBody(), Privileged: true })],
    ['the removal of a foreign container', () => ask('DELETE', `/containers/${foreign.id}?force=true`)],
    [
      'the removal of a foreign container by a part of its id',
      () => ask('DELETE', `/containers/${foreign.id.slice(0, 12)}?force=true`),
    ],
    ['a stop of a foreign container', () => ask('POST', `/containers/${foreign.id}/stop`)],
    ['a look at a foreign container', () => ask('GET', `/containers/${foreign.id}/json`)],
    ['files out of its own container', () => ask('GET', `/containers/${own.id}/archive?path=/`)],
    ['files into its own container', () => ask('PUT', `/containers/${own.id}/archive?path=/`)],
    ['other limits for its own container', () => ask('POST', `/containers/${own.id}/update`, { Memory: 0 })],
    ['an image of its own container', () => ask('POST', `/commit?container=${own.id}`)],
    ['the pull of an image', () => ask('POST', '/images/create?fromImage=alpine&tag=latest')],
    ['an image from a tar', () => ask('POST', '/images/load')],
    ['a build', () => ask('POST', '/build')],
    ['the removal of an image', () => ask('DELETE', `/images/${hostImage}`)],
    ['a look at another image', () => ask('GET', '/images/tmp/debian:bookworm/json')],
    ['a swarm', () => ask('POST', '/swarm/init', {})],
    ['secrets', () => ask('GET', '/secrets')],
    ['plugins', () => ask('POST', '/plugins/pull?remote=x')],
    ['a network', () => ask('POST', '/networks/create', { Name: 'x' })],
    ['the open network, which no template has', () => ask('POST', '/networks/create', openNetworkBody)],
    ['a volume that is a directory of the host', () => ask('POST', '/volumes/create', hostVolume())],
    ['the removal of a volume of another program', () => ask('DELETE', '/volumes/other')],
    ['the removal of a volume that only looks like its own', () => ask('DELETE', `/volumes/${foreignVolume}`)],
    ['a prune', () => ask('POST', '/volumes/prune')],
  ];

  const execBody = () => ({
    Cmd: ['id'],
    AttachStdin: false,
    AttachStdout: true,
    AttachStderr: true,
    Tty: false,
    Env: [],
    DetachKeys: '',
  });

  const openNetworkBody = {
    Name: 'berth-open',
    Driver: 'bridge',
    CheckDuplicate: true,
    EnableIPv6: false,
    Options: {
      'com.docker.network.bridge.name': 'berth0',
      'com.docker.network.bridge.enable_icc': 'false',
    },
  };

  const hostVolume = () => ({
    Name: `berth-${guarded.instance}-host`,
    Driver: 'local',
    DriverOpts: { type: 'none', o: 'bind', device: '/' },
    Labels: { 'berth.instance': guarded.instance },
  });

  for (const [what, attack] of attacks)
    test(`refuses ${what}`, async () => {
      const { status, message } = await attack();
      assert.equal(status, 403);
      assert.match(message, /^[A-Z][^\n]{10,200}\.$/);
    });

  test('starts no container that only fills a volume', async () => {
    const name = `berth-${guarded.instance}-filled`;
    const labels = { 'berth.instance': guarded.instance };
    const { id } = await engine().createContainer({
      Image: hostImage,
      Cmd: ['/opt/berth/session-host'],
      Labels: { ...labels, 'berth.filler': name },
    });
    assert.deepEqual(await ask('POST', `/containers/${id}/start`), {
      status: 403,
      message: 'Nothing may run in this container.',
    });
    assert.equal((await ask('DELETE', `/containers/${id}`)).status, 204);
  });

  test('shows no foreign container, volume or disk use', async () => {
    const docker = new Docker({ socketPath: guarded.guard.socket });
    const containers = await docker.listContainers({ all: true });
    assert.ok(containers.some(({ Id }) => Id === own.id));
    assert.ok(containers.every(({ Labels }) => 'berth.instance' in Labels));
    const { Volumes } = await docker.listVolumes();
    assert.ok(Volumes.every(({ Name }) => Name !== foreignVolume));
    const use = (await docker.df()) as { Volumes: { Name: string }[] };
    assert.deepEqual(Object.keys(use), ['Volumes']);
    assert.ok(use.Volumes.every(({ Name }) => Name !== foreignVolume));
  });

  test('measures and tries as without it', async () => {
    assert.ok((await guarded.runtime.volumeSizes()).has(`berth-${guarded.instance}-own`));
    assert.equal(await guarded.runtime.trial({ argv: ['/opt/berth/bash', '-c', 'exit 7'], mounts: [] }), 7);
  });

  test('lets workspaces be bounded as the host offers it', async () => {
    const { instance, guard } = guarded;
    const before = guard.refusals.length;
    const directory = mkdtempSync(join(tmpdir(), 'berth-quota-'));
    const quota = { mode: 'auto', directory, reserve: 0 } as const;
    const [plain, behind] = [undefined, `unix://${guard.socket}`].map((host) =>
      testRuntime({ instance, quota, ...(host && { host }) }),
    );
    assert.deepEqual(await behind!.quota(), await plain!.quota());
    const name = `berth-${instance}-bounded`;
    const spec = specOf(name);
    const sandbox = await behind!.open({ ...spec, volume: { ...spec.volume, size: 16 * MiB } });
    assert.equal(await sh(sandbox, 'echo well > f; cat f'), 'well\n');
    await sandbox.remove();
    await behind!.removeVolume(name);
    for (const runtime of [plain, behind]) await runtime![Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
    assert.deepEqual(guard.refusals.slice(before), []);
  });

  test('lets a sandbox have the socket of its proxy, where its template has a way out', async () => {
    const directory = mkdtempSync(join(homedir(), '.berth-doors-'));
    const [base] = testPolicy.templates;
    await using guard = await testGuard({
      ...testPolicy,
      egressDirectory: directory,
      templates: [{ ...base!, egress: true }],
    });
    await using runtime = testRuntime({ instance: guarded.instance, host: `unix://${guard.socket}` });
    assert.equal(await egressWorks(new Doors({ directory, log: quiet }), runtime), true);
    assert.deepEqual(guard.refusals, []);
    rmSync(directory, { recursive: true });
  });

  test('left everything as it was', async () => {
    assert.equal((await foreign.inspect()).State.Running, true);
    assert.equal(await sh(own, 'echo well'), 'well\n');
  });
});
