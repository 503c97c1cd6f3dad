import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openSession, type RawSession } from '../support/raw.ts';
import { ServerProcess } from '../support/server-process.ts';

const patience = { timeout: 300_000 };

/** A real server with twelve places, that starts two sandboxes at a time. */
let server: ServerProcess;
before(async () => {
  server = await ServerProcess.start({
    BERTH_TEMPLATES__DATA__MEMORY: '128MiB',
    BERTH_TEMPLATES__DATA__TMP: '16MiB',
    BERTH_DOCKER__MAX_PARALLEL_STARTS: '2',
    BERTH_SESSION__MAX_SESSIONS: '12',
    BERTH_LIMITS__COMMANDS: '12',
    BERTH_LIMITS__QUEUE_WAIT: '120',
    BERTH_LIMITS__HOST_MEMORY_START: '0',
  });
}, patience);
after(() => server[Symbol.asyncDispose]());

const open = (): Promise<RawSession> => openSession({ url: server.url, mcp: `${server.url}/mcp` } as never);

/** The sandbox's handle, from a first call. */
async function first(session: RawSession): Promise<string> {
  const { result } = await session.call('execute_command', { command: 'echo here' });
  assert.equal(result?.structuredContent?.['stdout'], 'here\n', JSON.stringify(result));
  const status = await session.call('sandbox_status');
  return String(status.result?.structuredContent?.['sandbox']);
}

test(
  'first calls of many sessions at once all get their sandbox, and where all are taken one waits for the next that ends',
  patience,
  async () => {
    const sessions = await Promise.all(Array.from({ length: 12 }, open));
    const handles = await Promise.all(sessions.map(first));
    assert.equal(new Set(handles).size, 12);
    const late = await open();
    const waiting = first(late);
    const metrics = async () => (await fetch(`${server.url}/metrics`)).text();
    while (!(await metrics()).includes('berth_sandboxes{state="waiting"} 1')) await sleep(100);
    assert.equal((await sessions[0]?.delete())?.status, 200);
    assert.ok(!handles.includes(await waiting));
  },
);

test(
  'the output kept of all sandboxes is bounded: the one idle for longest gives up its own, and says so',
  patience,
  async () => {
    await using small = await ServerProcess.start({ BERTH_SHELL__HISTORY_MEMORY: '4MiB' });
    const sessions = await Promise.all(
      Array.from({ length: 4 }, () => openSession({ url: small.url, mcp: `${small.url}/mcp` } as never)),
    );
    const bytes = 1_900_000;
    const write = async (session: RawSession) => {
      const { result } = await session.call('execute_command', { command: `head -c ${bytes} /dev/zero | tr '\\0' a` });
      return String(result?.structuredContent?.['command_id']);
    };
    const pageOf = async (session: RawSession, command_id: string) => {
      const { result } = await session.call('check_command', { command_id, offset: 1_500_000 });
      const { evicted, stdout_size: total } = result?.structuredContent ?? {};
      return { evicted, total };
    };
    const [oldest, next, ...others] = sessions as [RawSession, RawSession, ...RawSession[]];
    const [ofOldest, ofNext] = [await write(oldest), await write(next)];
    assert.deepEqual(await pageOf(oldest, ofOldest), { evicted: 0, total: bytes });
    for (const session of others) await write(session);
    assert.deepEqual(await pageOf(oldest, ofOldest), { evicted: 400_000, total: bytes });
    assert.deepEqual(await pageOf(next, ofNext), { evicted: 0, total: bytes });
  },
);
