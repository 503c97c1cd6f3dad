import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, describe, test } from 'node:test';

const directory = mkdtempSync(join(tmpdir(), 'berth-layers-'));
after(() => rmSync(directory, { recursive: true }));

/** The imports that the lint rule refuses in a file at that place. */
function refused(path: string, imports: readonly string[]): readonly string[] {
  const file = join(directory, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, imports.map((name) => `import '${name}';\n`).join(''));
  const args = ['--config', 'config/oxlint.json', '--disable-nested-config', '--format', 'unix', file];
  const { stdout } = spawnSync('node_modules/.bin/oxlint', args, { encoding: 'utf8' });
  const found = new Set([...stdout.matchAll(/'([^']+)' import is restricted/g)].map((match) => match[1]));
  return imports.filter((name) => found.has(name));
}

const packages = ['dockerode', '@modelcontextprotocol/server', 'hono'];

/** Who may import whom of our own is in docs/architecture.md, which another test compares with the code. */
describe('the lint rule holds the layers', () => {
  test('the domain knows neither engine nor protocol nor HTTP', () => {
    assert.deepEqual(refused('src/sandbox/x.ts', packages), packages);
    assert.deepEqual(refused('src/sandbox/session/shell/x.ts', packages), packages);
  });

  test('each outer room has its own package and no other', () => {
    assert.deepEqual(refused('src/runtimes/docker/x.ts', packages), packages.slice(1));
    assert.deepEqual(refused('src/api/mcp/x.ts', packages), ['dockerode', 'hono']);
    assert.deepEqual(refused('src/api/http/x.ts', packages), packages.slice(0, 2));
    assert.deepEqual(refused('src/api/http/mcp.ts', packages), ['dockerode']);
    assert.deepEqual(refused('src/setup/x.ts', packages), packages);
  });
});
