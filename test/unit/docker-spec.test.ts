import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBody } from '../../src/runtimes/docker/spec.ts';
import { MiB, specOf } from '../support/docker-runtime.ts';

const placement = { instance: 'i1', hostVolume: 'berth-session-host-abc', orphanAfter: 90 };

test('a sandbox is asked for with every restriction written out', () => {
  const spec = specOf('berth-i1-a', { image: 'team/tools:1', env: { LANG: 'de_DE.UTF-8' } });
  assert.deepEqual(createBody(spec, placement), {
    Image: 'team/tools:1',
    Labels: { 'berth.sandbox': 'berth-i1-a', 'berth.instance': 'i1' },
    Hostname: 'berth',
    User: '1000:1000',
    WorkingDir: '/workspace',
    Env: ['HOME=/workspace', 'LANG=de_DE.UTF-8'],
    Entrypoint: ['/opt/berth/session-host'],
    Cmd: ['serve', '--cwd', '/workspace', '--orphan-after', '90', '--', '/bin/bash'],
    Healthcheck: { Test: ['NONE'] },
    StopSignal: 'SIGTERM',
    StopTimeout: 2,
    HostConfig: {
      CapDrop: ['ALL'],
      Privileged: false,
      ReadonlyRootfs: true,
      IpcMode: 'private',
      CgroupnsMode: 'private',
      PublishAllPorts: false,
      Init: false,
      OomKillDisable: false,
      OomScoreAdj: 500,
      LogConfig: { Type: 'none', Config: {} },
      RestartPolicy: { Name: 'no' },
      Memory: 256 * MiB,
      MemorySwap: 256 * MiB,
      NanoCpus: 1_000_000_000,
      PidsLimit: 128,
      Ulimits: [
        { Name: 'nofile', Soft: 1024, Hard: 1024 },
        { Name: 'core', Soft: 0, Hard: 0 },
      ],
      ShmSize: 16 * MiB,
      Tmpfs: { '/tmp': 'rw,exec,nosuid,nodev,size=67108864,mode=1777' },
      NetworkMode: 'none',
      SecurityOpt: ['no-new-privileges'],
      Mounts: [
        {
          Type: 'volume',
          Source: 'berth-i1-a',
          Target: '/workspace',
          ReadOnly: false,
          VolumeOptions: {
            NoCopy: true,
            Labels: { 'berth.sandbox': 'berth-i1-a', 'berth.instance': 'i1', 'berth.bare': '' },
          },
        },
        {
          Type: 'volume',
          Source: 'berth-session-host-abc',
          Target: '/opt/berth',
          ReadOnly: true,
          VolumeOptions: { NoCopy: true, Labels: {} },
        },
      ],
    },
  });
});

test('what a template adds is passed on, and no more', () => {
  const spec = specOf('a', {
    network: 'open',
    runtime: 'runsc',
    seccomp: '{"defaultAction":"SCMP_ACT_ERRNO"}',
    mounts: [
      { source: 'models', target: '/models', readOnly: true },
      { source: '/srv/data', target: '/data', readOnly: false },
      { source: '/srv/books', target: '/books', readOnly: true },
    ],
  });
  const { HostConfig } = createBody(spec, placement);
  assert.equal(HostConfig.NetworkMode, 'berth-open');
  assert.equal(HostConfig.Runtime, 'runsc');
  assert.deepEqual(HostConfig.SecurityOpt, ['no-new-privileges', 'seccomp={"defaultAction":"SCMP_ACT_ERRNO"}']);
  assert.deepEqual(HostConfig.Mounts.slice(2), [
    {
      Type: 'volume',
      Source: 'models',
      Target: '/models',
      ReadOnly: true,
      VolumeOptions: { NoCopy: true, Labels: {} },
    },
    { Type: 'bind', Source: '/srv/data', Target: '/data', ReadOnly: false, BindOptions: { Propagation: 'rprivate' } },
    { Type: 'bind', Source: '/srv/books', Target: '/books', ReadOnly: true, BindOptions: { Propagation: 'rprivate' } },
  ]);
});

test('the shell starts where it is told to', () => {
  const { Cmd } = createBody(specOf('a', { cwd: '/workspace/project' }), placement);
  assert.deepEqual(Cmd.slice(0, 3), ['serve', '--cwd', '/workspace/project']);
});

test('labels of the caller never replace the instance', () => {
  const spec = specOf('a', { labels: { 'berth.instance': 'forged' } });
  assert.equal(createBody(spec, placement).Labels['berth.instance'], 'i1');
});
