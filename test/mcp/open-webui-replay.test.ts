import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SignJWT } from 'jose';
import { Reply, textOf, versions, type Who } from '../support/open-webui-replay.ts';
import { until } from '../support/raw.ts';
import { startServer, type TestServer } from '../support/server.ts';

const key = 'key-of-open-webui-0123456789';
const jwtSecret = 'a-secret-open-webui-also-knows';

const settings = (users: 'headers' | 'signed') => ({
  config: {
    auth: { keys: [{ name: 'chat', key, users }] },
    ...(users === 'signed' && { open_webui: { jwt_secret: jwtSecret } }),
  },
});

const trusted = () => startServer(settings('headers'));
const signing = () => startServer(settings('signed'));

const ada: Who = { key, user: 'ada', chat: 'chat-1' };

interface Claims {
  readonly sub?: string;
  readonly iss?: string;
  /** Seconds from now. */
  readonly expires?: number;
  readonly secret?: string;
  readonly alg?: string;
}

/** As Open WebUI mints it. */
async function token({
  sub = 'ada',
  iss = 'open-webui',
  expires = 300,
  secret = jwtSecret,
  alg = 'HS256',
}: Claims = {}) {
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ email: `${sub}@example.com`, name: sub, role: 'user' })
    .setProtectedHeader({ alg, typ: 'JWT' })
    .setSubject(sub)
    .setIssuer(iss)
    .setIssuedAt(now)
    .setExpirationTime(now + expires)
    .sign(new TextEncoder().encode(secret));
}

/** The wire of a connection that forwards users by token: no plain headers of the user. */
async function signed(claims: Claims = {}, who: Who = ada): Promise<Who> {
  return { ...who, headers: { 'x-openwebui-user-id': undefined, 'x-openwebui-user-jwt': await token(claims) } };
}

/** A whole reply with one command. */
async function reply(server: TestServer, version: string, who: Who, command = 'echo hi') {
  const one = new Reply(server.mcp, version, who);
  const tools = await one.connect();
  const { status, message } = await one.call('execute_command', { command });
  await one.close();
  return { tools, status, text: textOf(message), isError: message?.result?.isError === true, statuses: one.statuses };
}

for (const version of versions) {
  test(`${version}: ten messages of a chat are one sandbox, whatever sessions they come in`, async () => {
    await using server = await trusted();
    for (let message = 0; message < 10; message++) {
      const { text, statuses } = await reply(server, version, ada);
      assert.equal(text, 'hi\n[exit 0 · 0.05 s · /workspace]');
      assert.ok(
        statuses.every((status) => status < 300),
        String(statuses),
      );
    }
    const acquired = server.sandboxes.calls.filter((call) => call.startsWith('acquire'));
    assert.deepEqual(
      acquired,
      Array.from({ length: 10 }, () => 'acquire user:chat:ada conversation:chat-1'),
    );
    assert.equal(server.sandboxes.leases, 0);
    assert.ok(!server.sandboxes.calls.some((call) => call.includes('detach user:chat:ada conversation')));
  });

  test(`${version}: two users with one chat id are two sandboxes; a session of one is unknown to the other`, async () => {
    await using server = await trusted();
    await reply(server, version, ada, 'cd /tmp');
    const { text } = await reply(server, version, { ...ada, user: 'bob' }, 'pwd');
    assert.equal(text, '/workspace\n[exit 0 · 0.05 s · /workspace]');
    assert.equal((await reply(server, version, ada, 'pwd')).text, '/tmp\n[exit 0 · 0.05 s · /tmp]');
  });

  for (const chat of ['temporary:abc', 'local:abc', 'channel:general', 'ein Ä id'])
    test(`${version}: the chat "${chat}" is a conversation of its user alone`, async () => {
      await using server = await trusted();
      const who = { ...ada, chat: encodeURIComponent(chat) };
      await reply(server, version, who, 'cd /tmp');
      assert.equal((await reply(server, version, who, 'pwd')).text, '/tmp\n[exit 0 · 0.05 s · /tmp]');
      const bob = await reply(server, version, { ...who, user: 'bob' }, 'pwd');
      assert.equal(bob.text, '/workspace\n[exit 0 · 0.05 s · /workspace]');
    });

  test(`${version}: without a chat id the user has one sandbox of his own, over all replies`, async () => {
    await using server = await trusted();
    await reply(server, version, { ...ada, chat: '' });
    await reply(server, version, { ...ada, chat: '' });
    const calls = server.sandboxes.calls.filter((call) => call.startsWith('acquire'));
    assert.deepEqual(calls, ['acquire user:chat:ada default', 'acquire user:chat:ada default']);
  });

  for (const users of ['headers', 'signed'] as const)
    test(`${version}: "Verify connection" lists the tools with users: ${users}, without a user or a chat`, async () => {
      await using server = await startServer(settings(users));
      const headers = { 'x-openwebui-user-id': undefined, 'x-openwebui-chat-id': undefined };
      const check = new Reply(server.mcp, version, { key, user: '', chat: '', headers }, 'verify');
      assert.ok((await check.connect()).includes('execute_command'));
      await check.close();
      assert.ok(
        check.statuses.every((status) => status < 300),
        String(check.statuses),
      );
      assert.deepEqual(
        server.sandboxes.calls.filter((call) => call.startsWith('acquire')),
        [],
      );
    });

  test(`${version}: a call that names no user is a result that says so`, async () => {
    await using server = await trusted();
    const answer = await reply(server, version, { ...ada, user: '' });
    assert.equal(answer.status, 200);
    assert.equal(answer.isError, true);
    assert.equal(
      answer.text,
      'This connection serves many users, and the request named none: its headers need "X-OpenWebUI-User-Id": "{{USER_ID}}".\n[error · unauthorized]',
    );
  });

  test(`${version}: a signed user is who the token says`, async () => {
    await using server = await signing();
    const { text } = await reply(server, version, await signed({ sub: 'ada' }));
    assert.equal(text, 'hi\n[exit 0 · 0.05 s · /workspace]');
    assert.deepEqual(server.sandboxes.calls[0], 'acquire user:chat:ada conversation:chat-1');
  });

  const refused: Record<string, [() => Promise<Who>, RegExp]> = {
    'another secret': [
      () => signed({ secret: 'what-somebody-else-made-up' }),
      /^The token that names the user was signed with another secret/,
    ],
    'an expired token': [() => signed({ expires: -60 }), /^The token that names the user has expired/],
    'another issuer': [() => signed({ iss: 'somebody' }), /claim "iss" is not what it must be/],
    'another algorithm': [
      () => signed({ alg: 'HS512', secret: jwtSecret.repeat(3) }),
      /no token signed by Open WebUI with HS256/,
    ],
    'no token at all': [
      async () => ({ ...ada, headers: { 'x-openwebui-user-jwt': 'x' } }),
      /no token signed by Open WebUI/,
    ],
    'plain headers': [
      async () => ada,
      /the request carried none: .* It carried plain headers, which do not count here\./,
    ],
    'plain headers beside a bad token': [
      async () => ({ ...ada, headers: { 'x-openwebui-user-jwt': await token({ expires: -60 }) } }),
      /has expired/,
    ],
  };
  for (const [what, [who, sentence]] of Object.entries(refused))
    test(`${version}: signed users: ${what} is refused in a result, and reaches no sandbox`, async () => {
      await using server = await signing();
      const answer = await reply(server, version, await who());
      assert.deepEqual([answer.status, answer.isError], [200, true]);
      assert.match(answer.text, sentence);
      assert.match(answer.text, /\[error · unauthorized\]$/);
      assert.deepEqual(
        server.sandboxes.calls.filter((call) => call.startsWith('acquire')),
        [],
      );
    });

  test(`${version}: a token that expires while the reply goes on stays good for that reply, and for no new one`, async () => {
    await using server = await signing();
    const who = await signed({ expires: -3 });
    const one = new Reply(server.mcp, version, who);
    await one.connect();
    await sleep(3500);
    assert.equal(textOf((await one.call('execute_command', { command: 'echo on' })).message).split('\n')[0], 'on');
    await one.close();
    const other = await reply(server, version, await signed({ expires: -6 }));
    assert.match(other.text, /has expired/);
  });

  test(`${version}: a wrong key is 401 at connect`, async () => {
    await using server = await trusted();
    const answer = await reply(server, version, { ...ada, key: 'wrong' });
    assert.deepEqual([...new Set(answer.statuses)], [401]);
  });

  test(`${version}: what no model is shown twice: no structured content, and text that is not JSON`, async () => {
    await using server = await trusted();
    const one = new Reply(server.mcp, version, ada);
    await one.connect();
    for (const said of ['true', '1e5', '[1]', '{"a":1}', '']) {
      const { message } = await one.call('execute_command', { command: `echo ${said}` });
      assert.equal(message?.result?.structuredContent, undefined);
      assert.throws(() => JSON.parse(textOf(message)) as unknown, SyntaxError);
    }
    await one.close();
  });

  test(`${version}: a picture goes to the reader and to the model, once each`, async () => {
    await using server = await trusted();
    const one = new Reply(server.mcp, version, ada);
    await one.connect();
    await one.call('upload_file', { path: 'dot.png', content: dot, encoding: 'base64' });
    const { message } = await one.call('download_file', { path: 'dot.png', as_image: true });
    const kinds = message?.result?.content?.map((item) => item.type);
    assert.deepEqual(kinds, version.startsWith('0.11') ? ['text', 'image', 'resource'] : ['text', 'image']);
    await one.close();
  });

  test(`${version}: a picture that its client does not take is named, with another way to it`, async () => {
    await using server = await trusted();
    const one = new Reply(server.mcp, version, ada);
    await one.connect();
    const content = Buffer.concat([Buffer.from(dot, 'base64'), Buffer.alloc(1_000_000)]).toString('base64');
    await one.call('upload_file', { path: 'large.png', content, encoding: 'base64' });
    const { message } = await one.call('download_file', { path: 'large.png', as_image: true });
    assert.deepEqual(
      message?.result?.content?.map((item) => item.type),
      ['text'],
    );
    assert.match(
      textOf(message),
      /^\[note: what goes with this text \([12]\.\d MiB\) is too much for the chat; .* share_file\]\n/,
    );
    await one.close();
  });

  test(`${version}: a result longer than its client takes is cut, not lost`, async () => {
    await using server = await trusted();
    const one = new Reply(server.mcp, version, ada);
    await one.connect();
    await one.call('upload_file', { path: 'big.txt', content: 'line of text\n'.repeat(200_000) });
    const { message } = await one.call('download_file', { path: 'big.txt', length: 2_500_000 });
    const size = Buffer.byteLength(JSON.stringify(message));
    assert.ok(size > 500_000 && size < 1024 * 1024, String(size));
    assert.match(textOf(message), /characters omitted …\]/);
    await one.close();
  });

  test(`${version}: a connect given up midway leaves nothing in the way of the next message`, async () => {
    await using server = await trusted();
    await new Reply(server.mcp, version, ada).cancelledConnect();
    assert.equal((await reply(server, version, ada)).text, 'hi\n[exit 0 · 0.05 s · /workspace]');
  });

  test(`${version}: the stop button interrupts the command and keeps the sandbox`, async () => {
    await using server = await trusted();
    await reply(server, version, ada, 'cd /tmp');
    const one = new Reply(server.mcp, version, ada);
    await one.connect();
    const connection = new AbortController();
    const pending = one.call('execute_command', { command: 'sleep 30' }, connection.signal).catch(() => undefined);
    await until(() => server.sandboxes.leases === 1, 'the call to hold its sandbox');
    connection.abort();
    await one.close();
    await pending;
    await until(() => server.sandboxes.leases === 0, 'the call to give its sandbox back');
    const principal = { id: 'user:chat:ada' };
    const { shell } = server.sandboxes.workspaceOf({ principal, scope: { kind: 'conversation', id: 'chat-1' } });
    assert.deepEqual(shell.interrupted, ['sleep 30']);
    assert.equal((await reply(server, version, ada, 'pwd')).text, '/tmp\n[exit 0 · 0.05 s · /tmp]');
  });
}

test('0.11: a session that the server forgot is 404, and the next message goes on', async () => {
  await using server = await trusted();
  const [version = ''] = versions;
  const one = new Reply(server.mcp, version, ada);
  await one.connect();
  await one.close();
  assert.equal((await one.call('execute_command', { command: 'pwd' })).status, 404);
  assert.equal((await reply(server, version, ada)).text, 'hi\n[exit 0 · 0.05 s · /workspace]');
});

const dot = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
