import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hono } from 'hono';
import { SignJWT } from 'jose';
import { authenticate } from '../../src/api/http/auth.ts';
import type { HttpEnv } from '../../src/api/http/env.ts';
import { testConfig } from '../support/server.ts';

const text = 'echo what nobody is to see in the recording';
const jwtSecret = 'the-secret-that-signs-users';
const sessionSecret = 'the-secret-that-signs-sessions';
const plain = 'key-of-ann-0123456789';
const named = 'key-of-a-chat-0123456789';
const signed = 'key-of-open-webui-0123456789';

const config = testConfig({
  auth: {
    keys: [
      { name: 'ann', key: plain },
      { name: 'chat', key: named, users: 'headers' },
      { name: 'webui', key: signed, users: 'signed' },
    ],
  },
  open_webui: { jwt_secret: jwtSecret, session_secret: sessionSecret },
});

const sign = (claims: Record<string, unknown>, secret: string) =>
  new SignJWT(claims)
    .setProtectedHeader({ alg: 'HS256' })
    .setIssuer('open-webui')
    .setExpirationTime('5m')
    .sign(new TextEncoder().encode(secret));

/** The secrets of a request with these headers, or the status of its refusal. */
async function secretsOf(headers: Record<string, string>, settings = config): Promise<unknown> {
  const app = new Hono<HttpEnv>().use(authenticate(settings)).post('/mcp', (c) => c.json(c.get('secrets')));
  const answer = await app.request('/mcp', { method: 'POST', headers });
  return answer.ok ? answer.json() : answer.status;
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const user = (token: string) => ({ 'x-openwebui-user-jwt': token });

test('what proved the caller is secret: a key, a signed user, a session’s token', async () => {
  const ada = await sign({ sub: 'ada' }, jwtSecret);
  const session = await sign({ id: 'ada' }, sessionSecret);
  assert.deepEqual(await secretsOf(bearer(plain)), [plain]);
  assert.deepEqual(await secretsOf({ ...bearer(signed), ...user(ada) }), [signed, ada]);
  assert.deepEqual(await secretsOf(bearer(session)), [session]);
});

test('a text of the caller’s choice is no secret, wherever he puts it', async () => {
  const open = testConfig();
  const foreign = await sign({ sub: 'ada' }, 'a-secret-of-someone-else');
  for (const token of [text, foreign]) {
    assert.deepEqual(await secretsOf(user(token), open), []);
    assert.deepEqual(await secretsOf({ ...bearer(plain), ...user(token) }), [plain]);
    assert.deepEqual(await secretsOf({ ...bearer(named), 'x-openwebui-user-id': 'ada', ...user(token) }), [named]);
    assert.deepEqual(await secretsOf({ ...bearer(signed), ...user(token) }), [signed]);
  }
  assert.deepEqual(await secretsOf(bearer('ls${IFS}-la${IFS}/workspace'), open), []);
  const session = await sign({ id: 'ada' }, sessionSecret);
  assert.deepEqual(await secretsOf({ ...bearer(session), ...user(text) }), [session]);
});
