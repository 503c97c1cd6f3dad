import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadConfig } from '../../src/config.ts';
import { policyOf } from '../../src/guard/policy.ts';

const policy = (yaml: string) =>
  policyOf(loadConfig({ env: { HOME: '/home/x' }, file: 'berth.yaml', readFile: () => yaml }).config);

test('the guard’s policy is that of the settings', () => {
  const { templates, ...rest } = policy(`
server: { state_dir: /var/lib/berth }
session: { orphan_after: 1h, template: out }
docker: { host_image: own/host:1 }
workspace: { quota: watch }
templates:
  data: false
  base: false
  out: { image: 'a:1', memory: 1g, cpus: 2, pids: 99, tmp: 8m, shm: 32m, nofile: 64, disk: 3g, network: open, runtime: runsc, seccomp: engine, env: { A: b } }
  listed: { image: 'b:1', network: allow-list, allow_hosts: [example.org], mounts: ['/srv/models:/models'], seccomp: engine }
  bare: { image: 'c:1', network: open, network_open_unprotected: true }
`);
  assert.deepEqual(rest, {
    hostImage: 'own/host:1',
    orphanAfter: 3600,
    disk: 3 * 1024 ** 3,
    quota: 'watch',
    egressDirectory: '/var/lib/berth/egress',
  });
  const [out, listed, bare] = templates;
  assert.deepEqual(out, {
    image: 'a:1',
    env: { A: 'b' },
    limits: { memory: 1024 ** 3, cpus: 2, pids: 99, tmp: 8 * 1024 ** 2, shm: 32 * 1024 ** 2, nofile: 64 },
    mounts: [],
    network: 'open',
    egress: false,
    runtime: 'runsc',
  });
  assert.equal(listed?.network, 'none');
  assert.equal(listed?.egress, true);
  assert.equal(listed?.env['HTTPS_PROXY'], 'http://127.0.0.1:3128');
  assert.deepEqual(listed?.mounts, [{ source: '/srv/models', target: '/models', readOnly: true }]);
  assert.equal(bare?.network, 'unprotected');
  assert.match(bare?.seccomp ?? '', /^\{"/);
});

test('a seccomp profile that cannot be read is a settings error', () => {
  assert.throws(() => policy('templates: { data: { seccomp: /nonexistent } }'), {
    name: 'ConfigError',
    message: 'templates.data.seccomp: expected a readable JSON profile, got /nonexistent',
  });
});
