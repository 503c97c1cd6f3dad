import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SandboxView, type SandboxParts } from '../../src/sandbox/lifecycle/sandbox-view.ts';
import type { SandboxRow } from '../../src/state/state.ts';
import { testConfig } from '../support/server.ts';

const row = { handle: 'sb_1', created: 0, expires: null } as SandboxRow;

async function limitsOf(usage: { memoryLimit: number; pidsLimit: number }) {
  const view = new SandboxView({
    row,
    template: testConfig().templates['base'],
    container: { usage: async () => ({ memory: 1, pids: 1, cpuSeconds: 0, ...usage }) },
    host: {
      terminals: { list: async () => [] },
      activity: async () => ({ processes: 0 }),
      commands: () => [],
      degraded: [],
    },
  } as unknown as SandboxParts);
  return (await view.status()).limits;
}

test('a sandbox tells the limits it was started with, whatever the settings say by now', async () => {
  const { memory, pids } = await limitsOf({ memoryLimit: 123_456_789, pidsLimit: 77 });
  assert.deepEqual([memory, pids], [123_456_789, 77]);
});

test('where the engine tells none, the limits are those of the template', async () => {
  const { memory, pids } = await limitsOf({ memoryLimit: 0, pidsLimit: 0 });
  const template = testConfig().templates['base'];
  assert.deepEqual([memory, pids], [template?.memory, template?.pids]);
});
