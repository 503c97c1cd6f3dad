import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { SignJWT } from 'jose';
import { pino } from 'pino';
import { recorded } from '../../src/sandbox/intercept/recordings/recorded.ts';
import { Recorder } from '../../src/sandbox/intercept/recordings/recorder.ts';
import type { Key } from '../../src/identity/key.ts';
import type { AcquireOptions, Lease } from '../../src/sandbox/sandboxes.ts';
import { FakeSandboxes } from '../support/fake-sandboxes.ts';
import { openSession } from '../support/raw.ts';
import { startServer } from '../support/server.ts';

class RecordedSandboxes extends FakeSandboxes {
  readonly #recorder: Recorder;

  constructor(recorder: Recorder) {
    super();
    this.#recorder = recorder;
  }

  override async acquire(key: Key, options?: AcquireOptions): Promise<Lease> {
    const lease = await super.acquire(key, options);
    return { ...lease, workspace: recorded(lease.workspace, { recorder: this.#recorder, longestWait: 1 }) };
  }
}

/** What one command leaves behind: its result, the log and its recording. */
async function traces(
  t: TestContext,
  {
    command,
    headers,
    config,
  }: Record<'headers', Record<string, string>> & {
    command: string;
    config?: Record<string, Record<string, unknown>>;
  },
) {
  const directory = mkdtempSync(join(tmpdir(), 'berth-recordings-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const log = pino({ level: 'silent' });
  const recorder = new Recorder({ directory, retention: 0, maxSize: 1e6, maxTotal: 1e9, log });
  await using server = await startServer({ sandboxes: new RecordedSandboxes(recorder), ...(config && { config }) });
  const session = await openSession(server, headers);
  const result = JSON.stringify(await session.call('execute_command', { command }));
  await recorder[Symbol.asyncDispose]();
  const tape = readdirSync(directory).map((name) => readFileSync(join(directory, name), 'utf8'));
  return { result, log: JSON.stringify(server.logged), tape: tape.join('') };
}

test('a caller cannot have his command left out of its recording', async (t) => {
  const command = 'echo what nobody is to see';
  for (const headers of [{ 'x-openwebui-user-jwt': command }, { authorization: 'Bearer nobody-is-to-see' }]) {
    const { result, tape } = await traces(t, { command, headers });
    assert.match(tape, /"command":"echo what nobody is to see"/);
    assert.match(tape, /"o","what nobody is to see\\r\\n"/);
    assert.match(result, /"what nobody is to see\\n"/);
  }
});

test('a signed user’s token and the key beside it show up nowhere', async (t) => {
  const key = 'key-of-open-webui-0123456789';
  const secret = 'the-secret-that-signs-users';
  const token = await new SignJWT({ sub: 'ada' })
    .setProtectedHeader({ alg: 'HS256' })
    .setIssuer('open-webui')
    .setExpirationTime('5m')
    .sign(new TextEncoder().encode(secret));
  const left = await traces(t, {
    command: `echo ${token} ${key}`,
    headers: { authorization: `Bearer ${key}`, 'x-openwebui-user-jwt': token },
    config: { auth: { keys: [{ name: 'webui', key, users: 'signed' }] }, open_webui: { jwt_secret: secret } },
  });
  for (const [where, text] of Object.entries(left))
    for (const secret of [token, key]) assert.ok(!text.includes(secret), where);
  assert.match(left.tape, /"o","\[redacted\] \[redacted\]\\r\\n"/);
  assert.match(left.result, /\[redacted\] \[redacted\]/);
});
