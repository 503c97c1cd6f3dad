import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { loadConfig, type Config } from '../../src/config.ts';
import { attackAll } from '../../src/doctor/examination.ts';
import { table } from '../../src/doctor/table.ts';
import { policyOf } from '../../src/guard/policy.ts';
import type { Check } from '../../src/setup/checks.ts';
import { engine, quiet } from '../support/docker-runtime.ts';
import { EngineProxy } from '../support/engine-proxy.ts';
import { testGuard } from '../support/guarded.ts';
import { ServerProcess } from '../support/server-process.ts';

const isRoot = process.getuid?.() === 0;
const failed = (checks: readonly Check[]) => checks.filter(({ status }) => status === 'fail').map(({ name }) => name);
const shown = (checks: readonly Check[]) => table(checks.filter(({ status }) => status !== 'ok'));

/** Each card is made from nothing, as the command does it, against a real engine behind a socket that can lie to it. */
describe('the doctor’s attacks', { timeout: 300_000 }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-doctor-'));
  const proxy = new EngineProxy();
  const stop = new AbortController().signal;
  const settings = (templates: Record<string, string>, more: Record<string, string> = {}): Config => {
    const file = `
server: { state_dir: ${directory} }
docker: { host: "${proxy.host}" }
workspace: { quota: ${more['quota'] ?? 'auto'} }
templates: { data: false, base: false, ${Object.entries(templates).map(([name, fields]) => `${name}: { image: berth/base:latest, ${fields} }`)} }
session: { template: ${Object.keys(templates)[0]} }`;
    return loadConfig({ env: {}, file: 'doctor.yaml', readFile: () => file }).config;
  };
  const options = (config: Config) => ({ config, env: process.env, log: quiet, stop });
  const attack = (config: Config) => attackAll(options(config));
  /** Names of the containers that went through the proxy. */
  const made: string[] = [];
  const left = async () => {
    const all = await engine().listContainers({ all: true });
    const { Volumes } = await engine().listVolumes();
    const names = [...all.map(({ Names }) => Names[0]!.slice(1)), ...Volumes.map(({ Name }) => Name)];
    return names.filter((name) => made.some((one) => name.startsWith(one)));
  };

  before(() => proxy.listen());
  after(async () => {
    await proxy[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });

  test(
    'find nothing in templates as they should be, and leave nothing behind',
    { skip: !isRoot && 'needs a bounded workspace' },
    async () => {
      proxy.judge = (_, path) => void made.push(...(/containers\/create\?name=([\w-]+)/.exec(path)?.slice(1) ?? []));
      const checks = await attack(
        settings({ shut: 'network: none', listed: 'network: allow-list, allow_hosts: ["*"]' }),
      );
      assert.deepEqual(failed(checks), [], shown(checks));
      assert.deepEqual(
        checks.filter(({ template }) => template === 'listed').map(({ name }) => name),
        checks.filter(({ template }) => template === 'shut').map(({ name }) => name),
      );
      assert.equal(checks.filter(({ status }) => status === 'ok').length, 45, shown(checks));
      assert.equal(made.length, 4);
      assert.deepEqual(await left(), []);
      assert.deepEqual(readdirSync(directory), ['egress']);
      assert.deepEqual(readdirSync(join(directory, 'egress')), []);
    },
  );

  test('find what the engine’s own seccomp profile leaves open, and nothing else', async () => {
    const checks = await attack(settings({ lax: 'seccomp: engine' }));
    const [first, ...rest] = failed(checks).filter((name) => name !== 'disk quota');
    assert.equal(first, 'io_uring', shown(checks));
    assert.deepEqual(
      rest.filter((name) => !['AF_VSOCK', 'AF_ALG', 'kernel calls'].includes(name)),
      [],
    );
  });

  test('find what a sandbox without walls lets through', async () => {
    proxy.rewriteCreate = (body) => ({
      ...body,
      User: 'root',
      HostConfig: {
        ...body.HostConfig,
        CapDrop: [],
        ReadonlyRootfs: false,
        SecurityOpt: ['seccomp=unconfined'],
        NetworkMode: 'bridge',
        Memory: 0,
        MemorySwap: 0,
        PidsLimit: 1000,
        LogConfig: { Type: 'json-file' },
      },
    });
    const mounts = 'mounts: ["/var/run/docker.sock:/var/run/docker.sock"]';
    const checks = await attack(settings({ bare: mounts }, { quota: 'none' })).finally(
      () => (proxy.rewriteCreate = undefined),
    );
    const holding = checks.filter(({ status }) => status !== 'fail').map(({ name }) => name);
    // Whether there is metadata or a kernel module to reach is up to the machine.
    const depends = ['cloud metadata', 'AF_VSOCK', 'AF_ALG'];
    const expected = ['tar archives', 'kill -9 -1'];
    assert.deepEqual(
      holding.filter((name) => !depends.includes(name)),
      expected,
      table(checks),
    );
    for (const { meaning, advice } of checks.filter(({ status }) => status === 'fail')) assert.ok(meaning && advice);
  });

  test('say nothing of what they could not try: nothing can be written to the workspace', async () => {
    proxy.rewriteCreate = (body) => {
      const { Mounts = [] } = (body['HostConfig'] ?? {}) as { Mounts?: { Target: string }[] };
      const shut = Mounts.map((mount) => (mount.Target === '/workspace' ? { ...mount, ReadOnly: true } : mount));
      return { ...body, HostConfig: { ...(body['HostConfig'] as object), Mounts: shut } };
    };
    const checks = await attack(settings({ shut: 'network: none' }, { quota: 'none' })).finally(
      () => (proxy.rewriteCreate = undefined),
    );
    const statusOf = (name: string) => checks.find((check) => check.name === name)?.status;
    const needy = ['symlinks', 'tar archives', 'disk fill', 'device nodes'];
    assert.deepEqual(
      needy.map((name) => [name, statusOf(name)]),
      needy.map((name) => [name, 'untried']),
      table(checks),
    );
    assert.equal(statusOf('read-only root'), 'ok');
  });

  test('pass the guard before the engine’s socket', async () => {
    const config = settings({ listed: 'network: allow-list, allow_hosts: ["*"]' });
    await using guard = await testGuard(policyOf(config), proxy.path);
    const docker = { ...config.docker, host: `unix://${guard.socket}` };
    const checks = await attack({ ...config, docker });
    assert.deepEqual(guard.refusals, []);
    assert.deepEqual(
      failed(checks).filter((name) => name !== 'disk quota'),
      [],
      shown(checks),
    );
  });

  describe('before a strict server starts, on an engine that says it is new', () => {
    const env = () => ({
      BERTH_SERVER__STRICT: 'true',
      BERTH_DOCKER__HOST: proxy.host,
      BERTH_TEMPLATES__DATA: 'false',
      BERTH_TEMPLATES__BASE__MEMORY: '128MiB',
      BERTH_SESSION__TEMPLATE: 'base',
      ...(!isRoot && { BERTH_WORKSPACE__QUOTA: 'tmpfs' }),
    });
    before(() => {
      const Components = [{ Name: 'runc', Version: '1.3.6', Details: {} }];
      proxy.judge = (_, path) =>
        path.endsWith('/version') ? { answer: { Version: '29.5.1', ApiVersion: '1.41', Components } } : undefined;
    });
    after(() => {
      proxy.judge = () => undefined;
      proxy.rewriteCreate = undefined;
    });

    test('show in /metrics what held', async () => {
      await using server = await ServerProcess.start(env());
      const text = await (await fetch(`${server.url}/metrics`)).text();
      assert.match(text, /^berth_doctor_check\{check="log flood",template="base"\} 1$/m);
      assert.match(text, /^berth_doctor_check\{check="bind address",template=""\} 1$/m);
      assert.doesNotMatch(text, /^berth_doctor_check.* 0$/m);
    });

    test('refuse an engine that is none of Docker’s, before it serves', async () => {
      const docker = proxy.judge;
      const Components = [{ Name: 'Podman Engine', Version: '5.8.6', Details: {} }];
      proxy.judge = (_, path) => (path.endsWith('/version') ? { answer: { Version: '5.8.6', Components } } : undefined);
      const start = ServerProcess.start({ ...env(), BERTH_SERVER__STRICT: 'false' }).finally(
        () => (proxy.judge = docker),
      );
      await assert.rejects(start, /^berth: The engine at \S+ is Podman 5\.8\.6, and Berth needs Docker: [^.]+\.$/m);
    });

    test('stop it, with the failed checks by name', async () => {
      proxy.rewriteCreate = (body) => ({ ...body, HostConfig: { ...body.HostConfig, ReadonlyRootfs: false } });
      await assert.rejects(ServerProcess.start(env()), ({ message }: Error) => {
        assert.match(message, /^the server ended with 1:$/m);
        assert.match(
          message,
          /^berth: server\.strict is on, and berth doctor finds its sandboxes unsafe: read-only root of base: \/var\/tmp can be written[^;]*\.$/m,
        );
        return true;
      });
    });
  });

  test('name a template whose image is missing, and go on with the next', async () => {
    const config = settings({ gone: 'memory: 64MiB' });
    const missing = { ...config, templates: { gone: { ...config.templates['gone']!, image: 'missing/image:1' } } };
    const [, check] = await attack(missing);
    assert.deepEqual([check?.name, check?.template, check?.status], ['start', 'gone', 'untried']);
  });
});
