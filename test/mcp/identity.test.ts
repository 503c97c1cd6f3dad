import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey } from 'jose';
import { ConfigError } from '../../src/config.ts';
import { modernCall, modernHeaders, openSession, post, request } from '../support/raw.ts';
import { startServer, testConfig } from '../support/server.ts';

const secret = 'the-secret-of-open-webui';

async function sign(claims: Record<string, unknown>, key: CryptoKey | string, alg: string, expires = '5m') {
  const material = typeof key === 'string' ? new TextEncoder().encode(key) : key;
  return new SignJWT(claims)
    .setProtectedHeader({ alg, kid: 'one' })
    .setIssuedAt()
    .setExpirationTime(expires)
    .sign(material);
}

const run = modernCall('execute_command', { command: 'echo hi' });

async function callWith(mcp: string, headers: Record<string, string>) {
  return post(mcp, run, { ...modernHeaders('execute_command'), ...headers });
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

test('a user’s own Open WebUI token lets him in as himself', async () => {
  await using server = await startServer({ config: { open_webui: { session_secret: secret } } });
  assert.equal((await callWith(server.mcp, bearer(await sign({ id: 'ada' }, secret, 'HS256')))).status, 200);
  assert.deepEqual(server.sandboxes.calls, ['acquire webui:ada default']);
  const refused: [string, Record<string, string>][] = [
    ['none', {}],
    ['another secret', bearer(await sign({ id: 'ada' }, 'a-secret-of-someone-else', 'HS256'))],
    ['expired', bearer(await sign({ id: 'ada' }, secret, 'HS256', '-1m'))],
    ['another algorithm', bearer(await sign({ id: 'ada' }, secret.repeat(4), 'HS512'))],
    ['no user', bearer(await sign({}, secret, 'HS256'))],
    ['unsigned', bearer(`${part({ alg: 'none' })}.${part({ id: 'ada' })}.`)],
    ['no token', bearer('sk-0123456789abcdef')],
  ];
  for (const [what, headers] of refused) assert.equal((await callWith(server.mcp, headers)).status, 401, what);
});

const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** An OpenID Connect issuer with one key. */
async function issuer() {
  const { publicKey, privateKey } = await generateKeyPair('RS256');
  const jwk = { ...(await exportJWK(publicKey)), kid: 'one', alg: 'RS256', use: 'sig' };
  const http = createServer((request, response) => {
    const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
    const discovery = { issuer: url, jwks_uri: `${url}/keys` };
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(request.url === '/keys' ? { keys: [jwk] } : discovery));
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  return { url, privateKey, jwk, [Symbol.dispose]: () => void http.close() };
}

test('an access token of the issuer lets its user in, and nothing else does', async () => {
  using from = await issuer();
  await using server = await startServer({ config: { oidc: { issuer: from.url, audience: 'berth' } } });
  const good = { iss: from.url, aud: ['berth', 'other'], sub: 'ada' };
  assert.equal((await callWith(server.mcp, bearer(await sign(good, from.privateKey, 'RS256')))).status, 200);
  assert.deepEqual(server.sandboxes.calls, [`acquire oidc:${from.url}:ada default`]);
  const { privateKey: foreign } = await generateKeyPair('RS256');
  const endless = new SignJWT(good).setProtectedHeader({ alg: 'RS256', kid: 'one' });
  const refused: [string, string][] = [
    ['another key', await sign(good, foreign, 'RS256')],
    ['another audience', await sign({ ...good, aud: 'other' }, from.privateKey, 'RS256')],
    ['another issuer', await sign({ ...good, iss: 'http://127.0.0.1:1' }, from.privateKey, 'RS256')],
    ['expired', await sign(good, from.privateKey, 'RS256', '-1m')],
    ['without an end', await endless.sign(from.privateKey)],
    ['the public key as a secret', await sign(good, JSON.stringify(from.jwk), 'HS256')],
    ['unsigned', `${part({ alg: 'none' })}.${part({ ...good, exp: 9_999_999_999 })}.`],
  ];
  for (const [what, token] of refused) assert.equal((await callWith(server.mcp, bearer(token))).status, 401, what);
});

test('who is refused is told where tokens come from (RFC 9728)', async () => {
  using from = await issuer();
  const settings = {
    oidc: { issuer: from.url, audience: 'berth' },
    server: { public_url: 'https://berth.example.com' },
  };
  await using server = await startServer({ config: settings });
  const refused = await callWith(server.mcp, {});
  const metadata = 'https://berth.example.com/.well-known/oauth-protected-resource/mcp';
  assert.equal(refused.headers.get('www-authenticate'), `Bearer realm="berth", resource_metadata="${metadata}"`);
  for (const path of ['', '/mcp']) {
    const answer = await fetch(`${server.url}/.well-known/oauth-protected-resource${path}`);
    assert.deepEqual(await answer.json(), {
      resource: 'https://berth.example.com/mcp',
      authorization_servers: [from.url],
      bearer_methods_supported: ['header'],
      resource_name: 'Berth',
    });
  }
});

test('a session belongs to the user who opened it: to another user of the same key it is unknown', async () => {
  const key = 'key-of-open-webui-0123456789';
  await using server = await startServer({ config: { auth: { keys: [{ name: 'chat', key, users: 'headers' }] } } });
  const session = await openSession(server, { ...bearer(key), 'x-openwebui-user-id': 'ada' });
  const call = request('tools/call', { name: 'execute_command', arguments: { command: 'echo hi' } });
  assert.equal((await session.post(call)).status, 200);
  const foreign = await session.post(call, { 'x-openwebui-user-id': 'bob' });
  assert.equal(foreign.status, 404);
  assert.equal((await session.post(call, { 'x-openwebui-user-id': '' })).status, 404);
});

test('a shared connection that names no user reaches nothing but the tools’ list', async () => {
  const key = 'key-of-open-webui-0123456789';
  await using server = await startServer({ config: { auth: { keys: [{ name: 'chat', key, users: 'headers' }] } } });
  const answer = await fetch(`${server.url}/sandboxes/sb-1/files/a`, { headers: bearer(key) });
  assert.equal(answer.status, 401);
  assert.match(await answer.text(), /the request named none/);
});

test('settings that cannot work stop the start', () => {
  const key = 'key-of-open-webui-0123456789';
  const wrong: [Record<string, Record<string, unknown>>, RegExp][] = [
    [
      { auth: { keys: [{ name: 'a', key, users: 'signed' }] } },
      /expected open_webui\.jwt_secret beside users: signed of "a"/,
    ],
    [{ auth: { keys: [{ name: 'a', key, users: 'all' }] } }, /the users of "a" are none of none, headers, signed/],
    [{ oidc: { issuer: 'https://id.example.com' } }, /expected oidc\.audience beside it/],
    [{ open_webui: { jwt_secret: 'short' } }, /^--test: expected a secret of at least 16 characters$/],
    [{ auth: { groups: { a: { template: 'data' } } } }, /"a" has the unknown key "template"/],
    [{ auth: { groups: { a: { templates: ['huge'] } } } }, /expected templates among data, base for "a", got "huge"/],
  ];
  for (const [settings, message] of wrong)
    assert.throws(
      () => testConfig(settings),
      (error: Error) => error instanceof ConfigError && message.test(error.message),
    );
});
