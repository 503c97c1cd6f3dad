import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { engine } from '../support/docker-runtime.ts';
import { openSession, request, type Message, type RawSession } from '../support/raw.ts';
import { eventually } from '../support/run.ts';
import { ServerProcess } from '../support/server-process.ts';

const unknown = `sb_${'0'.repeat(24)}`;
/** A call of a session that has ended has no answer. */
const codeOf = (message: Message | undefined): string => {
  const { result, error } = message ?? {};
  return String(result?.isError ? result.structuredContent?.['code'] : result ? 'ok' : (error?.code ?? 'none'));
};

describe('what is ended', { timeout: 180_000 }, () => {
  let server: ServerProcess;
  let instance = '';
  let looker: RawSession;

  const open = (headers: Record<string, string> = {}) => openSession({ mcp: `${server.url}/mcp` }, headers);
  const handles = async () => {
    const { result } = await looker.call('list_sandboxes');
    const sandboxes = result?.structuredContent?.['sandboxes'] as { sandbox: string }[] | undefined;
    return (sandboxes ?? []).map(({ sandbox }) => sandbox);
  };
  /** What the engine and the host hold of this server. */
  const held = async () => {
    const filters = { label: [`berth.instance=${instance}`] };
    const images = join(server.stateDirectory, 'workspaces');
    return {
      containers: (await engine().listContainers({ all: true, filters })).length,
      volumes: ((await engine().listVolumes({ filters })).Volumes ?? []).length,
      images: existsSync(images) ? readdirSync(images).length : 0,
    };
  };
  const nothing = { containers: 0, volumes: 0, images: 0 };
  const comesToNothing = async () => {
    let last: object = {};
    await eventually(async () => Object.values((last = await held())).every((count) => count === 0), 20).catch(() =>
      assert.deepEqual(last, nothing),
    );
  };

  before(async () => {
    server = await ServerProcess.start({ BERTH_SESSION__TEMPLATE: 'base' });
    instance = await server.instance();
    looker = await open({ 'x-openwebui-chat-id': 'looker' });
  });
  after(() => server[Symbol.asyncDispose]());
  afterEach(async () => {
    for (const sandbox of await handles()) await looker.call('end_sandbox', { sandbox });
    await comesToNothing();
  });

  test('a session is ended once, and unknown from then on', async () => {
    const session = await open();
    await session.call('execute_command', { command: 'true' });
    const answers = [await session.delete(), await session.delete(), await session.delete()];
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 404, 404],
    );
    const nobody = await fetch(`${server.url}/mcp`, {
      method: 'DELETE',
      headers: { ...session.headers, 'mcp-session-id': crypto.randomUUID() },
    });
    assert.deepEqual([nobody.status, await nobody.text()], [404, await answers[1]!.text()]);
    await eventually(async () => (await held()).containers === 0, 10);
  });

  test('a session is ended once by three at a time', async () => {
    const session = await open();
    await session.call('execute_command', { command: 'true' });
    const answers = await Promise.all([session.delete(), session.delete(), session.delete()]);
    const statuses = answers.map(({ status }) => status).toSorted();
    assert.equal(statuses[0], 200);
    for (const status of statuses) assert.ok(status === 200 || status === 404, String(status));
    assert.equal((await session.post(request('tools/list'))).status, 404);
    await eventually(async () => (await held()).containers === 0, 10);
  });

  test('a sandbox is ended once, and unknown from then on', async () => {
    const { result } = await looker.call('create_sandbox');
    const sandbox = result?.structuredContent?.['sandbox'];
    const { containers, volumes } = await held();
    assert.deepEqual([containers, volumes], [1, 1]);
    const first = await looker.call('end_sandbox', { sandbox });
    assert.equal(first.result?.structuredContent?.['ended'], true);
    assert.deepEqual(await held(), nothing);
    const nobody = (await looker.call('end_sandbox', { sandbox: unknown })).result;
    assert.equal(nobody?.structuredContent?.['code'], 'not_found');
    for (let again = 0; again < 2; again += 1)
      assert.deepEqual((await looker.call('end_sandbox', { sandbox })).result, nobody);
  });

  test('a sandbox is ended by three at a time', async () => {
    const { result } = await looker.call('create_sandbox');
    const sandbox = result?.structuredContent?.['sandbox'];
    const ended = await Promise.all([1, 2, 3].map(() => looker.call('end_sandbox', { sandbox })));
    const codes = ended.map(codeOf);
    assert.equal(codes[0], 'ok');
    for (const code of codes) assert.ok(code === 'ok' || code === 'not_found', code);
    assert.deepEqual(await held(), nothing);
  });

  test('a first call and the end of its session leave no container, whichever is first', async () => {
    const waits = [0, 20, 60, 120, 250, 500, 900, 1400];
    const rounds = waits.map(async (wait) => {
      const session = await open();
      const called = session.call('execute_command', { command: 'echo here' }).then(codeOf);
      await sleep(wait);
      const { status } = await session.delete();
      return [status, await called] as const;
    });
    for (const [status, code] of await Promise.all(rounds)) {
      assert.equal(status, 200);
      // The last where the DELETE came first.
      assert.ok(['ok', 'none', '-32001'].includes(code), code);
    }
    await eventually(async () => (await held()).containers === 0, 20);
    assert.equal((await held()).volumes, (await handles()).length, 'each workspace is a known sandbox’s');
  });

  test('a sandbox that is ended while it starts leaves nothing', async () => {
    for (const wait of [0, 30, 100, 300, 600]) {
      const made = looker.call('create_sandbox');
      let sandbox: string | undefined;
      await eventually(async () => (sandbox = (await handles())[0]) !== undefined);
      await sleep(wait);
      const ended = await Promise.all([1, 2, 3].map(() => looker.call('end_sandbox', { sandbox })));
      const codes = [codeOf(await made), ...ended.map(codeOf)];
      for (const code of codes) assert.ok(code === 'ok' || code === 'not_found', JSON.stringify(codes));
      assert.deepEqual(await handles(), []);
      await comesToNothing();
    }
  });

  test('a call to a sandbox that is being ended starts none anew', async () => {
    for (const asleep of [true, false]) {
      const { result } = await looker.call('create_sandbox');
      const sandbox = result?.structuredContent?.['sandbox'];
      if (asleep) await looker.call('end_sandbox', { sandbox, keep_workspace: true });
      const calls = await Promise.all([
        looker.call('end_sandbox', { sandbox }),
        looker.call('execute_command', { sandbox, command: 'echo here' }),
        looker.call('upload_file', { sandbox, path: 'file', content: 'here' }),
      ]);
      const [ended, ...others] = calls.map(codeOf);
      assert.equal(ended, 'ok');
      for (const code of others) assert.ok(['ok', 'not_found', 'sandbox_lost'].includes(code), code);
      assert.deepEqual(await handles(), []);
      await comesToNothing();
    }
  });
});
