import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { conformanceExtra } from '../support/conformance-tools.ts';
import { startServer } from '../support/server.ts';

const manifest = createRequire(import.meta.url).resolve('@modelcontextprotocol/conformance/package.json');
const suite = join(dirname(manifest), 'dist/index.js');

// The suite passes whole at both revisions, so there is no list of expected failures. It can send no header: auth is off.
for (const [revision, scenarios] of [
  ['2025-11-25', 30],
  ['2026-07-28', 37],
] as const)
  test(`the conformance suite passes at ${revision}`, { timeout: 120_000 }, async () => {
    await using server = await startServer({ context: { mcpExtra: conformanceExtra } });
    const cwd = await mkdtemp(join(tmpdir(), 'conformance-'));
    const output = await run(['server', '--url', server.mcp, '--requirements', revision], cwd);
    await rm(cwd, { recursive: true });
    const scored = output.slice(output.indexOf('=== SUMMARY'), output.indexOf('Not scored for'));
    const results = scored.split('\n').filter((line) => /^[✓✗] /.test(line));
    assert.deepEqual(
      results.slice(0, scenarios).filter((line) => line.startsWith('✗')),
      [],
    );
    assert.equal(results.slice(0, scenarios).length, scenarios);
  });

/** The exit code counts scenarios that the suite itself does not score. */
async function run(args: string[], cwd: string): Promise<string> {
  const done = promisify(execFile)(process.execPath, [suite, ...args], { cwd, maxBuffer: 64 << 20 });
  return done.then(
    ({ stdout }) => stdout,
    (error: { stdout: string }) => error.stdout,
  );
}
