import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createBody, fillerBody } from '../../src/runtimes/docker/spec.ts';
import { trialBody } from '../../src/runtimes/docker/trial.ts';
import { acceptedContainer } from '../../src/guard/create.ts';
import type { GuardPolicy, TemplatePolicy } from '../../src/guard/policy.ts';
import type { Mount } from '../../src/sandbox/ports/runtime.ts';

const MiB = 1024 ** 2;

const data: TemplatePolicy = {
  image: 'berth/data:latest',
  env: { LEVEL: 'debug' },
  limits: { memory: 512 * MiB, cpus: 2, pids: 256, tmp: 64 * MiB, shm: 32 * MiB, nofile: 1024 },
  mounts: [{ source: '/srv/models', target: '/models', readOnly: true }],
  network: 'none',
  egress: false,
  seccomp: '{"defaultAction":"SCMP_ACT_ERRNO"}',
};
const way: TemplatePolicy = { ...data, image: 'berth/base:latest', mounts: [], egress: true };
const open: TemplatePolicy = { ...data, image: 'open/image:1', mounts: [], network: 'open', runtime: 'runsc' };

const policy: GuardPolicy = {
  hostImage: 'berth/session-host:latest',
  templates: [data, way, open],
  orphanAfter: 86_400,
  disk: 1024 * MiB,
  quota: 'auto',
  egressDirectory: '/var/lib/berth/egress',
};

const volume = 'berth-abc-sb_0f2a-1b';
const placement = { instance: 'abc', hostVolume: 'berth-session-host-0123456789ab', orphanAfter: 3600 };

// oxlint-disable-next-line typescript/no-explicit-any -- what an attacker sends has no type
type Body = Record<string, any>;

function body(template: TemplatePolicy = data, more: readonly Mount[] = [], own: { sessionHost?: false } = {}): Body {
  const labels = { 'berth.sandbox': 'red-fox', 'berth.template': 'data' };
  const place = { name: volume, labels, volume: { name: volume, labels }, shell: '/bin/bash' };
  const spec = { ...template, ...place, ...own, mounts: [...template.mounts, ...more] };
  return JSON.parse(JSON.stringify(createBody(spec, placement))) as Body;
}

function changed(change: (body: Body) => void, from = body()): Body {
  change(from);
  return from;
}

const refused = (given: unknown): string => {
  try {
    acceptedContainer(given, policy);
  } catch (error) {
    return (error as Error).message;
  }
  assert.fail('it was accepted');
};

test('VOLUMEs of an image are in the body, and no others', () => {
  const labels = { 'berth.sandbox': 'red-fox' };
  const spec = { ...data, name: volume, labels, volume: { name: volume, labels }, shell: '/bin/bash' };
  const volumes = ['/data', '/tmp'];
  const wanted = JSON.parse(JSON.stringify(createBody(spec, { ...placement, imageVolumes: volumes }))) as Body;
  assert.deepEqual(acceptedContainer(wanted, policy, volumes), wanted);
  assert.deepEqual(wanted['HostConfig'].Mounts[2], {
    Type: 'tmpfs',
    Target: '/data',
    TmpfsOptions: { SizeBytes: 64 * MiB, Mode: 0o1777 },
  });
  assert.throws(() => acceptedContainer(wanted, policy), /HostConfig\.Mounts/);
  assert.throws(() => acceptedContainer(body(), policy, volumes), /HostConfig\.Mounts/);
  assert.throws(
    () =>
      acceptedContainer(
        changed((given) => (given['HostConfig'].Mounts[2].TmpfsOptions.SizeBytes *= 2), wanted),
        policy,
        volumes,
      ),
    /HostConfig\.Mounts/,
  );
});

const host = (key: string, value: unknown): [string, (body: Body) => void] => [
  `HostConfig.${key} = ${JSON.stringify(value)}`,
  (it) => (it['HostConfig'][key] = value),
];
const top = (key: string, value: unknown): [string, (body: Body) => void] => [
  `${key} = ${JSON.stringify(value)}`,
  (it) => (it[key] = value),
];
const mount = (what: string, change: (mounts: Body[]) => void): [string, (body: Body) => void] => [
  what,
  (it) => change(it['HostConfig'].Mounts),
];

const attacks: readonly [string, (body: Body) => void][] = [
  host('Privileged', true),
  host('privileged', true),
  host('CapAdd', ['SYS_ADMIN']),
  host('CapAdd', []),
  host('CapDrop', []),
  host('CapDrop', ['NET_RAW']),
  host('SecurityOpt', ['no-new-privileges']),
  host('SecurityOpt', ['no-new-privileges', 'seccomp=unconfined']),
  host('SecurityOpt', ['no-new-privileges', `seccomp=${data.seccomp}`, 'apparmor=unconfined']),
  host('SecurityOpt', [`seccomp=${data.seccomp}`]),
  host('SecurityOpt', []),
  host('ReadonlyRootfs', false),
  host('Devices', [{ PathOnHost: '/dev/sda', PathInContainer: '/dev/sda', CgroupPermissions: 'rwm' }]),
  host('DeviceRequests', [{ Count: -1, Capabilities: [['gpu']] }]),
  host('DeviceCgroupRules', ['a *:* rwm']),
  host('PidMode', 'host'),
  host('UTSMode', 'host'),
  host('UsernsMode', 'host'),
  host('IpcMode', 'host'),
  host('CgroupnsMode', 'host'),
  host('NetworkMode', 'host'),
  host('NetworkMode', 'bridge'),
  host('NetworkMode', 'container:other'),
  host('LogConfig', { Type: 'json-file', Config: {} }),
  host('LogConfig', { Type: 'none', Config: { mode: 'non-blocking' } }),
  host('Binds', ['/:/host']),
  host('Binds', []),
  host('VolumesFrom', ['other']),
  host('CgroupParent', '/'),
  host('Sysctls', { 'kernel.core_pattern': '|/x' }),
  host('Init', true),
  host('OomKillDisable', true),
  host('OomScoreAdj', -1000),
  host('RestartPolicy', { Name: 'always' }),
  host('PublishAllPorts', true),
  host('PortBindings', { '80/tcp': [{ HostPort: '80' }] }),
  host('ExtraHosts', ['a:1.2.3.4']),
  host('MaskedPaths', []),
  host('ReadonlyPaths', []),
  host('Runtime', 'other'),
  host('StorageOpt', { size: '100G' }),
  host('ShmSize', 33 * MiB),
  host('ShmSize', 0),
  host('Memory', 0),
  host('Memory', 513 * MiB),
  host('Memory', -1),
  host('MemorySwap', -1),
  host('MemorySwap', 1024 * MiB),
  host('NanoCpus', 0),
  host('NanoCpus', 3e9),
  host('PidsLimit', 0),
  host('PidsLimit', -1),
  host('PidsLimit', 257),
  host('Ulimits', []),
  host('Ulimits', [
    { Name: 'nofile', Soft: 1025, Hard: 1025 },
    { Name: 'core', Soft: 0, Hard: 0 },
  ]),
  host('Ulimits', [
    { Name: 'nofile', Soft: 1024, Hard: 1024 },
    { Name: 'core', Soft: -1, Hard: -1 },
  ]),
  host('Tmpfs', { '/tmp': `rw,exec,nosuid,nodev,size=${65 * MiB},mode=1777` }),
  host('Tmpfs', { '/tmp': `rw,exec,suid,dev,size=${64 * MiB},mode=1777` }),
  host('Tmpfs', { '/tmp': `rw,exec,nosuid,nodev,size=${64 * MiB},mode=1777`, '/etc': 'rw' }),
  host('Tmpfs', {}),
  host('Mounts', []),
  mount('a bind mount of the host', (mounts) => mounts.push({ Type: 'bind', Source: '/', Target: '/host' })),
  mount('a door where the template has none', (mounts) =>
    mounts.push({ Type: 'bind', Source: '/var/lib/berth/egress/red-fox', Target: '/run/berth', ReadOnly: true }),
  ),
  mount('a bind mount for the workspace', (mounts) => (mounts[0]!['Type'] = 'bind')),
  mount("another program's volume as the workspace", (mounts) => (mounts[0]!['Source'] = 'berth_state')),
  mount('a host path as the workspace', (mounts) => (mounts[0]!['Source'] = '/etc')),
  mount('the session host as the workspace', (mounts) => (mounts[0]!['Source'] = 'berth-session-host-0123456789ab')),
  mount('a volume driver', (mounts) => {
    mounts[0]!['VolumeOptions'].DriverConfig = { Name: 'local', Options: { type: 'none', o: 'bind', device: '/' } };
  }),
  mount('a workspace over the system', (mounts) => (mounts[0]!['Target'] = '/etc')),
  mount('a workspace that is filled from the image', (mounts) => (mounts[0]!['VolumeOptions'].NoCopy = false)),
  mount('a session host to write to', (mounts) => (mounts[1]!['ReadOnly'] = false)),
  mount('a workspace as the session host', (mounts) => (mounts[1]!['Source'] = volume)),
  mount("an operator's mount to write to", (mounts) => (mounts[2]!['ReadOnly'] = false)),
  mount("another source for an operator's mount", (mounts) => (mounts[2]!['Source'] = '/srv')),
  mount('shared propagation', (mounts) => (mounts[2]!['BindOptions'].Propagation = 'rshared')),
  mount("without an operator's mount", (mounts) => mounts.pop()),
  top('Image', 'debian:bookworm'),
  top('Image', 'berth/base:latest'),
  top('User', ''),
  top('User', '0:0'),
  top('User', 'root'),
  top('Entrypoint', ['/bin/sh']),
  top('Entrypoint', []),
  top('Entrypoint', ['/bin/sh', '-c', 'id', 'berth']),
  top('Cmd', ['/bin/sh']),
  top('Cmd', ['serve', '--cwd', '/workspace/../etc', '--orphan-after', '3600', '--', '/bin/bash']),
  top('Cmd', ['serve', '--cwd', '/workspace', '--orphan-after', '86401', '--', '/bin/bash']),
  top('Cmd', ['serve', '--cwd', '/workspace', '--orphan-after', '3600', '--', '/bin/bash', '-c', 'x']),
  top('Env', ['HOME=/workspace', 'LANG=C.UTF-8']),
  top('Env', ['HOME=/workspace', 'LANG=C.UTF-8', 'LEVEL=debug', 'NVIDIA_VISIBLE_DEVICES=all']),
  top('Labels', {}),
  top('Labels', { 'berth.sandbox': 'red-fox' }),
  top('Labels', { 'berth.instance': 'abc', 'com.example': 'x' }),
  top('Labels', { 'berth.instance': 'abc', 'berth.filler': 'trial' }),
  top('Labels', { 'berth.instance': 'abc', 'berth.filler': volume }),
  top('Healthcheck', { Test: ['CMD', '/x'] }),
  top('Volumes', { '/x': {} }),
  top('NetworkDisabled', false),
  top('NetworkingConfig', { EndpointsConfig: { bridge: {} } }),
  top('ExposedPorts', { '80/tcp': {} }),
  top('OnBuild', []),
  top('Tty', true),
  top('WorkingDir', '/'),
  top('StopTimeout', 3600),
  top('hostConfig', { Privileged: true }),
  top('HostConfig', null),
];

describe('what the guard lets be created', () => {
  test('is each of the shapes that Berth creates, made anew', () => {
    const door = { source: '/var/lib/berth/egress/red-fox', target: '/run/berth', readOnly: true };
    const own = { instance: 'abc', hostImage: policy.hostImage };
    const fill = (name: string, target: string) =>
      fillerBody({ name, target, labels: { 'berth.instance': 'abc' } }, own.hostImage, 'abc');
    const trial = trialBody({ argv: ['/opt/berth/bash', '-c', 'exit'], mounts: [] }, own);
    const shapes = [
      body(),
      body({ ...data, limits: { ...data.limits, memory: 64 * MiB, cpus: 0.5 } }),
      body(way, [door]),
      body(way),
      body(open),
      body(data, [], { sessionHost: false }),
      fill(volume, '/workspace'),
      fill('berth-session-host-0123456789ab', '/opt/berth'),
      trial,
      trialBody({ argv: ['/opt/berth/bash', '-c', 'exit'], mounts: [door] }, own),
      {
        ...trial,
        HostConfig: { ...trial.HostConfig, Mounts: [{ Type: 'volume', Source: volume, Target: '/workspace' }] },
      },
    ];
    for (const shape of shapes) {
      const accepted = acceptedContainer(shape, policy);
      assert.notEqual(accepted, shape);
      assert.deepEqual(accepted, JSON.parse(JSON.stringify(shape)));
    }
  });

  for (const [what, change] of attacks)
    test(`is no sandbox with ${what}`, () => {
      assert.match(refused(changed(change)), /^(Only|A sandbox|No template)/);
    });

  for (const key of Object.keys(body()))
    test(`is no sandbox without ${key}`, () => {
      assert.match(refused(changed((it) => delete it[key])), /^Only/);
    });

  for (const key of Object.keys(body()['HostConfig'] as object))
    test(`is no sandbox without HostConfig.${key}`, () => {
      assert.match(refused(changed((it) => delete it['HostConfig'][key])), /^Only/);
    });

  for (const source of [
    '/',
    '/var/lib/berth/egress',
    '/var/lib/berth/egress/',
    '/var/lib/berth/egress/../..',
    '/etc/shadow',
  ])
    test(`is no way out from ${source}`, () => {
      const door = { source, target: '/run/berth', readOnly: true };
      assert.equal(refused(body(way, [door])), "Only a sandbox's own way out may be mounted into it.");
      const trial = trialBody(
        { argv: ['/opt/berth/bash'], mounts: [door] },
        { instance: 'abc', hostImage: policy.hostImage },
      );
      assert.equal(refused(trial), "Only a sandbox's own way out may be mounted into it.");
    });

  test('is no filler or trial with anything else', () => {
    const own = { instance: 'abc', hostImage: policy.hostImage };
    const filler = () => fillerBody({ name: volume, target: '/workspace', labels: {} }, own.hostImage, 'abc') as Body;
    const trial = () => trialBody({ argv: ['/opt/berth/bash'], mounts: [] }, own) as Body;
    for (const make of [filler, trial]) {
      for (const [what, change] of attacks.filter(
        ([name]) => name.startsWith('HostConfig.') && !/CapDrop|no-new-privileges"\]$|Mounts = \[\]/.test(name),
      ))
        assert.match(refused(changed(change, make())), /^Only/, what);
      assert.match(refused(changed((it) => (it['Image'] = 'other'), make())), /^Only/);
    }
    assert.match(refused(changed((it) => (it['HostConfig'].Mounts[0].Source = '/'), filler())), /^Only/);
    assert.match(refused(changed((it) => (it['HostConfig'].Mounts[0].Source = 'other'), filler())), /^Only/);
    assert.match(refused(changed((it) => (it['Labels']['berth.filler'] = 'other'), filler())), /^Only/);
    assert.match(refused(changed((it) => (it['Entrypoint'] = ['/bin/sh']), trial())), /^Only/);
    assert.match(refused(changed((it) => delete it['HostConfig'].CapDrop, trial())), /^Only/);
    assert.match(refused(changed((it) => (it['User'] = '0:0'), trial())), /^Only/);
  });

  test('names the place of the difference, and nothing from outside', () => {
    assert.equal(
      refused(changed((it) => (it['HostConfig'].Privileged = true))),
      "Only Berth's own containers may be created: HostConfig.Privileged is not as Berth sets it.",
    );
    assert.equal(
      refused(changed((it) => (it['\u001b[31m\n'] = 1))),
      "Only Berth's own containers may be created: ??31m? is not as Berth sets it.",
    );
    assert.equal(refused(changed((it) => (it['Image'] = 'x'))), 'Only images of templates may be run.');
    assert.equal(
      refused(changed((it) => (it['HostConfig'].Memory *= 2))),
      "A sandbox may have at most its template's memory.",
    );
  });

  test('is nothing that is no object', () => {
    for (const nothing of [undefined, null, 1, 'x', [], {}, { Labels: null }]) assert.match(refused(nothing), /^Only/);
  });

  test('keeps a __proto__ out', () => {
    const text = JSON.stringify(body()).replace('"HostConfig":{', '"HostConfig":{"__proto__":{"Privileged":true},');
    assert.match(refused(JSON.parse(text)), /HostConfig\.__proto__ is not as Berth sets it/);
  });
});

describe('a sandbox without a session host', () => {
  const withoutHost = (): Body => {
    const labels = { 'berth.sandbox': 'red-fox', 'berth.template': 'data' };
    const place = { name: volume, labels, volume: { name: volume, labels }, shell: '/bin/bash', sessionHost: false };
    return JSON.parse(JSON.stringify(createBody({ ...data, ...place }, placement))) as Body;
  };

  test('is let through as Berth makes it', () => {
    assert.deepEqual(acceptedContainer(withoutHost(), policy), withoutHost());
  });

  test('runs no other script', () => {
    assert.match(refused(changed((it) => (it['Entrypoint'][2] += '\ntrue'), withoutHost())), /^Only/);
    assert.match(refused(changed((it) => (it['Entrypoint'][0] = '/bin/true'), withoutHost())), /^Only/);
  });
});
