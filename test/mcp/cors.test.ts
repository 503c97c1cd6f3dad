import { test } from 'node:test';
import assert from 'node:assert/strict';
import { initialize, post } from '../support/raw.ts';
import { startServer } from '../support/server.ts';

const app = 'https://app.example.com';
const config = {
  server: { allowed_origins: app },
  auth: { mode: 'keys', keys: 'ann=ann-key-0123456789' },
};
const ann = { authorization: 'Bearer ann-key-0123456789' };

const preflight = (url: string, origin: string) =>
  fetch(url, {
    method: 'OPTIONS',
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type,mcp-session-id',
    },
  });

for (const path of ['/mcp', '/mcp/', '/sandboxes/x/files/a', '/.well-known/oauth-protected-resource'])
  for (const origin of [app, 'http://localhost:5173'])
    test(`${origin} may ask for ${path} without a key`, async () => {
      await using server = await startServer({ config });
      const { status, headers } = await preflight(server.url + path, origin);
      assert.equal(status, 204);
      assert.equal(headers.get('access-control-allow-origin'), origin);
      assert.match(headers.get('access-control-allow-methods')!, /POST.*PUT.*DELETE/);
      assert.equal(headers.get('access-control-allow-headers'), 'authorization,content-type,mcp-session-id');
      assert.match(headers.get('vary')!, /Origin/);
    });

test('an accepted origin reads answers and refusals, and the session’s id', async () => {
  await using server = await startServer({ config });
  for (const [headers, status] of [
    [ann, 200],
    [{}, 401],
  ] as const) {
    const answer = await post(server.mcp, initialize(), { ...headers, origin: app });
    assert.equal(answer.status, status);
    assert.equal(answer.headers.get('access-control-allow-origin'), app);
    assert.match(answer.headers.get('access-control-expose-headers')!, /Mcp-Session-Id/);
    assert.equal(answer.headers.get('access-control-allow-credentials'), null);
  }
});

test('another origin gets no header of these, and a client without one neither', async () => {
  await using server = await startServer({ config });
  const evil = 'https://evil.example';
  const answers = [
    await preflight(server.mcp, evil),
    await fetch(`${server.url}/health`, { headers: { origin: evil } }),
    await post(server.mcp, initialize(), { ...ann, origin: evil }),
    await post(server.mcp, initialize(), ann),
  ];
  assert.deepEqual(
    answers.map(({ status }) => status),
    [403, 200, 403, 200],
  );
  for (const { headers } of answers)
    assert.deepEqual(
      [...headers.keys()].filter((name) => name.startsWith('access-control-')),
      [],
    );
});
