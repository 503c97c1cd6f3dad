import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { pino } from 'pino';
import { loadConfig } from '../../src/config.ts';
import { startServer } from '../../src/compose/context.ts';
import { FakeRuntime } from '../support/fake-runtime.ts';

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'berth-listening-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

describe('a server that listens', () => {
  async function logged(t: TestContext, env: Record<string, string>): Promise<Record<string, unknown>[]> {
    const lines: Record<string, unknown>[] = [];
    const log = pino(
      { formatters: { level: (level) => ({ level }) } },
      { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
    );
    const state = { BERTH_SERVER__STATE_DIR: directory(t), BERTH_SERVER__PORT: '0' };
    const { config } = loadConfig({ env: { ...state, ...env } });
    const setup = { config, version: 'test', env: {} };
    await using _server = await startServer(setup, { log, runtime: ({ instance }) => new FakeRuntime(instance) });
    return lines;
  }

  test('says where, and who is let in', async (t) => {
    const lines = await logged(t, {});
    const { url, host, port, auth } = lines.find(({ event }) => event === 'server.listening') ?? {};
    assert.deepEqual([url, host, auth], [`http://127.0.0.1:${port}/mcp`, '127.0.0.1', 'none']);
    assert.ok(!lines.some(({ event }) => event === 'server.open'));
  });

  test('warns where everybody beyond loopback is', async (t) => {
    const lines = await logged(t, { BERTH_SERVER__HOST: '0.0.0.0', BERTH_AUTH__MODE: 'none' });
    assert.equal(lines.find(({ event }) => event === 'server.listening')?.['host'], '0.0.0.0');
    const { level, host } = lines.find(({ event }) => event === 'server.open') ?? {};
    assert.deepEqual([level, host], ['warn', '0.0.0.0']);
  });

  test('does not warn where keys are asked for', async (t) => {
    const lines = await logged(t, { BERTH_SERVER__HOST: '0.0.0.0', BERTH_AUTH__KEYS: 'ann=0123456789abcdef0123' });
    assert.equal(lines.find(({ event }) => event === 'server.listening')?.['auth'], 'keys');
    assert.ok(!lines.some(({ event }) => event === 'server.open'));
  });
});
