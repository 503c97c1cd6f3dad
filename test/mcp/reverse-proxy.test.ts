import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ConfigError, loadConfig, settleAuth } from '../../src/config.ts';
import { clientAddress } from '../../src/api/http/forwarded.ts';
import { startServer } from '../support/server.ts';

const key = 'key-of-ann-0123456789';
const list = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
const json = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };

const call = (url: string, headers: Record<string, string>) =>
  fetch(url, { method: 'POST', headers: { ...json, ...headers }, body: list });

describe('behind a reverse proxy', () => {
  for (const [name, value] of [
    ['Forwarded', 'for=198.51.100.7'],
    ['X-Forwarded-For', '198.51.100.7'],
    ['X-Forwarded-Proto', 'https'],
    ['X-Forwarded-Host', 'chat.example.com'],
    ['X-Real-IP', '198.51.100.7'],
    ['Via', '1.1 proxy'],
  ] as const) {
    test(`without keys, a request with ${name} is refused with what to set`, async () => {
      await using server = await startServer();
      for (const path of ['/mcp', '/sandboxes/x/files/y', '/metrics']) {
        const answer = await fetch(server.url + path, {
          method: path === '/mcp' ? 'POST' : 'GET',
          headers: { ...json, [name]: value },
          ...(path === '/mcp' && { body: list }),
        });
        assert.equal(answer.status, 403, path);
        assert.match(await answer.text(), new RegExp(`${name.toLowerCase()}.*berth key create.*auth\\.mode`));
      }
      assert.equal((await fetch(`${server.url}/health`, { headers: { [name]: value } })).status, 200);
    });
  }

  test('with auth.mode: none written out, or with keys, it is served', async () => {
    await using open = await startServer({ config: { auth: { mode: 'none' } } });
    assert.notEqual((await call(open.mcp, { via: '1.1 proxy' })).status, 403);
    await using keyed = await startServer({ config: { auth: { keys: [{ name: 'ann', key }] } } });
    assert.equal((await call(keyed.mcp, { via: '1.1 proxy' })).status, 401);
    assert.notEqual((await call(keyed.mcp, { via: '1.1 proxy', authorization: `Bearer ${key}` })).status, 403);
  });

  test('a public_url of others does not start without keys', () => {
    const settled = (settings: Record<string, string>) => {
      const overrides = Object.entries(settings).map(([name, value]) => ({ key: name, value, flag: '--test' }));
      return settleAuth(loadConfig({ env: {}, overrides }).config, false).auth.mode;
    };
    assert.throws(
      () => settled({ 'server.public_url': 'https://berth.example.com' }),
      (error) => error instanceof ConfigError && /^server\.public_url: .*berth\.example\.com/.test(error.message),
    );
    assert.equal(settled({ 'server.public_url': 'https://berth.example.com', 'auth.mode': 'none' }), 'none');
    assert.equal(settled({ 'server.public_url': 'http://localhost:3000' }), 'none');
    assert.equal(settled({}), 'none');
  });

  test('the log has the client’s address, from a trusted proxy alone', async () => {
    for (const [trusted_proxies, wanted] of [
      [[], '127.0.0.1'],
      [['127.0.0.0/8'], '198.51.100.7'],
    ] as const) {
      await using server = await startServer({ config: { server: { trusted_proxies }, auth: { mode: 'none' } } });
      await call(server.mcp, { 'x-forwarded-for': '203.0.113.1, 198.51.100.7' }).then((answer) => answer.text());
      await server.close();
      assert.equal(server.logged.find(({ msg }) => msg === 'request')?.['client'], wanted);
    }
  });

  test('without keys, requests are counted by the client’s address', async () => {
    const config = {
      server: { trusted_proxies: ['127.0.0.1'] },
      auth: { mode: 'none' },
      limits: { requests_per_minute: 1 },
    };
    await using server = await startServer({ config });
    const get = async (from: string) =>
      (await fetch(`${server.url}/metrics`, { headers: { 'x-forwarded-for': from } })).status;
    assert.deepEqual(
      [await get('198.51.100.7'), await get('198.51.100.8'), await get('198.51.100.7')],
      [200, 200, 429],
    );
  });
});

test('a client’s address is the last one that no trusted proxy has', () => {
  const addressOf = clientAddress({ trusted_proxies: ['127.0.0.1', '10.0.0.0/8', '2001:db8::/32'] });
  const from = (peer: string, forwarded?: string) => addressOf(peer, () => forwarded);
  assert.equal(from('127.0.0.1', '198.51.100.7'), '198.51.100.7');
  assert.equal(from('::ffff:127.0.0.1', '198.51.100.7:4711'), '198.51.100.7');
  assert.equal(from('127.0.0.1', '1.1.1.1, 198.51.100.7, 10.0.0.3'), '198.51.100.7');
  assert.equal(from('127.0.0.1', '1.1.1.1, unknown, 10.0.0.3'), '10.0.0.3');
  assert.equal(from('2001:db8::1', '[2a00::7]:4711'), '2a00::7');
  assert.equal(from('198.51.100.9', '1.1.1.1'), '198.51.100.9');
  assert.equal(from('127.0.0.1'), '127.0.0.1');
});
