import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { findEngine } from '../../src/runtimes/docker/address.ts';

describe('the engine is found', () => {
  const home = mkdtempSync(join(tmpdir(), 'berth-address-'));
  after(() => rmSync(home, { recursive: true, force: true }));
  const put = (path: string, text: string) => {
    mkdirSync(join(home, path, '..'), { recursive: true });
    writeFileSync(join(home, path), text);
  };
  const context = (name: string, meta: unknown) =>
    put(`.docker/contexts/meta/${createHash('sha256').update(name).digest('hex')}/meta.json`, JSON.stringify(meta));

  test('where the settings say, before all else', () => {
    assert.deepEqual(findEngine({ HOME: home, DOCKER_HOST: 'tcp://env:1' }, 'unix:///run/own.sock'), {
      url: 'unix:///run/own.sock',
      source: 'docker.host',
      socketPath: '/run/own.sock',
    });
  });

  test('at DOCKER_HOST', () => {
    const found = { source: 'DOCKER_HOST', host: 'engine', port: 2375 };
    assert.deepEqual(findEngine({ DOCKER_HOST: 'tcp://engine:2375' }), { url: 'tcp://engine:2375', ...found });
    assert.deepEqual(findEngine({ DOCKER_HOST: 'engine:2375' }), { url: 'engine:2375', ...found });
    assert.equal(findEngine({ DOCKER_HOST: 'unix://' }).socketPath, '/var/run/docker.sock');
  });

  test('at DOCKER_HOST with the TLS files of DOCKER_CERT_PATH', () => {
    for (const file of ['ca', 'cert', 'key']) put(`certs/${file}.pem`, file);
    const env = { DOCKER_HOST: 'tcp://engine', DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: join(home, 'certs') };
    assert.deepEqual(findEngine(env), {
      url: 'tcp://engine',
      source: 'DOCKER_HOST',
      host: 'engine',
      port: 2376,
      tls: { verify: true, ca: Buffer.from('ca'), cert: Buffer.from('cert'), key: Buffer.from('key') },
    });
  });

  test('at the current docker context, with its TLS files', () => {
    const id = createHash('sha256').update('prod').digest('hex');
    put('.docker/config.json', JSON.stringify({ currentContext: 'prod' }));
    context('prod', { Name: 'prod', Endpoints: { docker: { Host: 'tcp://prod:2376', SkipTLSVerify: false } } });
    put(`.docker/contexts/tls/${id}/docker/ca.pem`, 'prod ca');
    assert.deepEqual(findEngine({ HOME: home }), {
      url: 'tcp://prod:2376',
      source: 'docker context prod',
      host: 'prod',
      port: 2376,
      tls: { verify: true, ca: Buffer.from('prod ca') },
    });
  });

  test('at DOCKER_CONTEXT, which may be the default', () => {
    context('rootless', { Endpoints: { docker: { Host: 'unix:///run/user/1/docker.sock' } } });
    const env = { HOME: home, DOCKER_CONTEXT: 'rootless' };
    assert.equal(findEngine(env).socketPath, '/run/user/1/docker.sock');
    assert.ok(findEngine({ HOME: home, DOCKER_CONTEXT: 'default' }).socketPath?.endsWith('docker.sock'));
  });

  test("at the rootless engine's socket, where there is no other that may be opened", async (t) => {
    const system = findEngine({ HOME: '/nonexistent' });
    if (system.source === 'the default socket' && process.getuid?.() === 0) return t.skip('this user may open it');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(home, 'docker.sock'), resolve));
    assert.equal(findEngine({ HOME: '/nonexistent', XDG_RUNTIME_DIR: home }).socketPath, join(home, 'docker.sock'));
    server.close();
  });

  for (const [what, env, message] of [
    [
      'an address that is none',
      { DOCKER_HOST: 'ssh://host' },
      'DOCKER_HOST must be an engine address like unix:///var/run/docker.sock or tcp://host:2376; got "ssh://host".',
    ],
    [
      'a context that is not there',
      { DOCKER_CONTEXT: 'gone' },
      'The current docker context gone names no engine; see "docker context ls".',
    ],
  ] as const)
    test(`not at ${what}, which is named`, () => {
      assert.throws(() => findEngine({ HOME: home, ...env }), { code: 'engine_unavailable', message });
    });
});
