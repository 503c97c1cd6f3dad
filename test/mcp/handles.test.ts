import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { newHandle, newVolume } from '../../src/sandbox/pool/roster.ts';
import { State, type SandboxRow } from '../../src/sandbox/state.ts';
import { openSession, request, type RawSession } from '../support/raw.ts';
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

function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}

test(
  'twenty thousand handles, each asked for, cost a server no more memory than a thousand',
  { timeout: 60_000 },
  async () => {
    // Collects garbage early, so that what is resident is what is held.
    const tight = { NODE_OPTIONS: '--max-semi-space-size=1 --max-old-space-size=192' };
    await using server = await ServerProcess.start({ BERTH_SESSION__TEMPLATE: 'base', ...tight });
    await server.kill('SIGTERM');
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
      return residentBytes(server.pid);
    };
    const few = await rounds(handles.slice(0, 1000), 20);
    const all = await rounds(handles, 1);
    assert.ok(all < 300 * MiB, `${all} bytes`);
    assert.ok(all - few < 8 * MiB, `${few} bytes with a thousand, ${all} with all`);
  },
);

/** One request for the status of many. */
async function ask(session: RawSession, handles: readonly string[]): Promise<void> {
  const calls = handles.map((sandbox) => request('tools/call', { name: 'sandbox_status', arguments: { sandbox } }));
  const { messages } = await session.post(calls, { 'mcp-protocol-version': '2025-03-26' });
  const found = messages.map(({ result }) => result?.structuredContent?.['sandbox']);
  assert.deepEqual(found.toSorted(), handles.toSorted());
}
