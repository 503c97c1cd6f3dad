import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { loadConfig, settleAuth } from '../../src/config.ts';
import { engineSocket, exposureChecks, quotaCheck } from '../../src/doctor/host.ts';
import { table } from '../../src/doctor/table.ts';

const bind = (env: Record<string, string>) => {
  const [check] = exposureChecks(settleAuth(loadConfig({ env }).config, false), {});
  return `${check!.status}: ${check!.detail}`;
};

describe('who can talk to the server', () => {
  const key = 'ann=ann-key-0123456789';

  test('only this machine, by default', () => assert.equal(bind({}), 'ok: 127.0.0.1:3000, without authentication'));

  test('everybody, where it is written out', () =>
    assert.equal(
      bind({ BERTH_SERVER__HOST: '0.0.0.0', BERTH_AUTH__MODE: 'none' }),
      'fail: 0.0.0.0:3000, without authentication',
    ));

  test('those with a key, which should not cross the network in the clear', () => {
    const open = { BERTH_SERVER__HOST: '0.0.0.0', BERTH_AUTH__KEYS: key };
    assert.equal(bind(open), 'warn: 0.0.0.0:3000, with authentication');
    const proxied = { ...open, BERTH_SERVER__PUBLIC_URL: 'https://berth.example.org' };
    assert.equal(bind(proxied), 'ok: 0.0.0.0:3000, with authentication');
  });
});

describe('who can talk to the engine', () => {
  const source = 'DOCKER_HOST';
  const tcp = (host: string) => ({ url: `tcp://${host}:2375`, source, host, port: 2375 });

  test('anybody on the network, without certificates', () =>
    assert.equal(engineSocket(tcp('10.0.0.5')).status, 'fail'));

  test('every user of this machine, on the loopback', () =>
    assert.equal(engineSocket(tcp('127.0.0.1')).status, 'warn'));

  test('who has a certificate', () => {
    const tls = { verify: true, cert: Buffer.from('x') };
    assert.equal(engineSocket({ ...tcp('10.0.0.5'), tls }).status, 'ok');
    assert.equal(engineSocket({ ...tcp('10.0.0.5'), tls: { verify: true } }).status, 'fail');
  });

  test('those whom its socket lets', () => {
    const directory = mkdtempSync(join(tmpdir(), 'berth-socket-'));
    const socketPath = join(directory, 'sock');
    writeFileSync(socketPath, '');
    const at = (mode: number) => {
      chmodSync(socketPath, mode);
      return engineSocket({ url: `unix://${socketPath}`, source, socketPath }).status;
    };
    assert.equal(at(0o660), 'ok');
    assert.equal(at(0o666), 'fail');
    rmSync(directory, { recursive: true });
  });
});

test('a workspace that nothing bounds is a failure, one that is watched a warning', async () => {
  const statusOf = async (kind: 'loop' | 'watch' | 'none') =>
    (await quotaCheck(async () => ({ kind, bounded: kind === 'loop', detail: 'x' }))).status;
  assert.deepEqual([await statusOf('loop'), await statusOf('watch'), await statusOf('none')], ['ok', 'warn', 'fail']);
  assert.equal((await quotaCheck(() => Promise.reject(new Error('no engine')))).detail, 'no engine');
});

test('the card is a table, with what a failure means and how to mend it', () => {
  const text = table([
    { name: 'node', status: 'ok', detail: '24' },
    {
      name: 'io_uring',
      template: 'base',
      status: 'fail',
      detail: 'open\u001b[2J',
      meaning: 'Bad.',
      advice: 'Shut it.',
    },
    { name: 'DNS', template: 'base', status: 'untried', detail: 'no time' },
    { name: 'quota', template: 'base', status: 'warn', detail: 'watch' },
  ]);
  assert.equal(
    text,
    `Host
  ✓ node      24

Sandboxes of base
  ✗ io_uring  open [2J
              Bad.
              → Shut it.
  ? DNS       no time
  ! quota     watch

1 hold, 1 warn, 1 fail, 1 not tried.
`,
  );
});
