import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { newHandle, newVolume } from '../../src/sandbox/lifecycle/roster.ts';
import { State, type SandboxRow } from '../../src/state/state.ts';
import { residentMiB } from '../support/memory.ts';
import { openSession, request, type RawSession } from '../support/raw.ts';
import { eventually } from '../support/run.ts';
import { ServerProcess } from '../support/server-process.ts';

const MiB = 1024 ** 2;
const known = 20_000;
const batch = 100;

/** A sandbox whose workspace alone is kept, as most are that a server knows. */
function asleep(state: State, index: number): SandboxRow {
  const handle = newHandle();
  const now = Date.now();
  const scope = { scopeKind: 'conversation', scopeId: `chat ${index}` } as const;
  const volume = newVolume(state.instance, handle);
  const times = { created: now, lastUsed: now, expires: null };
  return { handle, principal: 'anonymous', ...scope, template: 'base', volume, state: 'idle', ...times, lost: [] };
}

/** Bytes that the server holds when its garbage is collected. */
async function heldBytes({ pid }: ServerProcess, file: string): Promise<number> {
  rmSync(file, { force: true });
  process.kill(pid, 'SIGUSR2');
  await eventually(() => existsSync(file), 20);
  return Number(readFileSync(file, 'utf8'));
}

test(
  'twenty thousand handles, each asked for, cost a server no more memory than a thousand',
  { timeout: 60_000 },
  async () => {
    const report = { NODE_OPTIONS: `--import=${resolve('test/support/held-memory.ts')}` };
    await using server = await ServerProcess.start({ BERTH_SESSION__TEMPLATE: 'base', ...report });
    await server.kill('SIGTERM');
    const file = join(server.stateDirectory, 'held');
    server.change({ HELD_MEMORY: file });
    const handles: string[] = [];
    {
      using state = new State(server.stateDirectory);
      for (let index = 0; index < known; index += 1) {
        const row = asleep(state, index);
        state.insert(row);
        handles.push(row.handle);
      }
    }
    await server.start();
    const session = await openSession({ mcp: `${server.url}/mcp` });
    const health = (await (await fetch(`${server.url}/health`)).json()) as { sandboxes: { known: number } };
    assert.equal(health.sandboxes.known, known);
    const rounds = async (some: readonly string[], times: number) => {
      for (let round = 0; round < times; round += 1)
        for (let at = 0; at < some.length; at += batch) await ask(session, some.slice(at, at + batch));
      return await heldBytes(server, file);
    };
    const few = await rounds(handles.slice(0, 1000), 2);
    const all = await rounds(handles, 1);
    assert.ok(residentMiB(server.pid) < 300);
    assert.ok(few > MiB && all - few < 2 * MiB, `${few} bytes with a thousand, ${all} with all`);
  },
);

/** One request for the status of many. */
async function ask(session: RawSession, handles: readonly string[]): Promise<void> {
  const calls = handles.map((sandbox) => request('tools/call', { name: 'sandbox_status', arguments: { sandbox } }));
  const { messages } = await session.post(calls, { 'mcp-protocol-version': '2025-03-26' });
  const found = messages.map(({ result }) => result?.structuredContent?.['sandbox']);
  assert.deepEqual(found.toSorted(), handles.toSorted());
}
