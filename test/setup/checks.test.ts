import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { compareVersions, engineChecks, imageCheck, runtimeCheck, type EngineFacts } from '../../src/setup/checks.ts';

const facts: EngineFacts = {
  version: '29.5.1',
  runc: '1.3.6',
  cgroupVersion: '2',
  cgroupDriver: 'systemd',
  limits: { memory: true, cpu: true, pids: true },
  storage: 'overlay2',
  logging: 'json-file',
  security: ['name=apparmor', 'name=seccomp,profile=builtin', 'name=userns'],
  liveRestore: true,
  runtimes: ['runc'],
  warnings: ['WARNING: No swap limit support'],
};

const notOk = (changed: Partial<EngineFacts>) =>
  engineChecks({ ...facts, ...changed })
    .filter(({ status }) => status !== 'ok')
    .map(({ name, status, detail }) => `${status} ${name}: ${detail}`);

describe('the doctor', () => {
  test('finds nothing on a host as it should be', () => assert.deepEqual(notOk({}), []));

  test('warns of old releases, whatever a distribution adds to the number', () => {
    assert.deepEqual(notOk({ version: '20.10.24+dfsg1', runc: '1.1.5+ds1' }), [
      'warn engine version: 20.10.24+dfsg1',
      'warn runc version: 1.1.5+ds1',
    ]);
  });

  test('warns of a runc whose version the engine does not tell', () =>
    assert.deepEqual(notOk({ runc: '' }), ['warn runc version: unknown']));

  test('fails where one sandbox could take the host', () =>
    assert.deepEqual(notOk({ limits: { memory: false, cpu: true, pids: false } }), [
      'fail limits: cgroup v2, systemd; no limit on memory, pids',
    ]));

  test('fails without seccomp', () =>
    assert.deepEqual(notOk({ security: ['name=rootless'] }), ['fail confinement: rootless']));

  test('warns where root in a sandbox is root of the host', () =>
    assert.deepEqual(notOk({ security: ['name=seccomp'] }), ['warn user namespaces: off']));

  test('fails on an engine that is open to the network', () =>
    assert.deepEqual(notOk({ warnings: ['WARNING: API is accessible on http://0.0.0.0:2375 without encryption.'] }), [
      'fail engine API: open without TLS on http://0.0.0.0:2375',
    ]));

  test('says what to do about an image that is missing', () => {
    assert.equal(imageCheck('template data', 'berth/data:latest', undefined).advice, '"berth up" makes it.');
    assert.equal(imageCheck('template node', 'node:24', undefined).advice, 'Pull it: docker pull node:24');
    assert.equal(imageCheck('template node', 'node:24', 'sha256:0123456789abcdef').detail, 'node:24 (0123456789ab)');
  });

  test('fails on a runtime that the engine does not have', () => {
    assert.equal(runtimeCheck('data', 'runsc', ['runc']).status, 'fail');
    assert.equal(runtimeCheck('data', 'runc', ['runc']).status, 'ok');
  });
});

test('versions compare by their numbers', () => {
  assert.ok(compareVersions('1.10.0', '1.9.9') > 0);
  assert.ok(compareVersions('v29.5', '29.5.1') < 0);
  assert.equal(compareVersions('1.3.6-rc.1', '1.3.6'), 0);
  assert.ok(compareVersions('dev', '0.0.1') < 0);
});
