import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const script = join(import.meta.dirname, '..', 'support', 'moving-resolvers.ts');
const skip = process.getuid?.() === 0 ? false : 'needs root for namespaces';

test('the proxy asks the resolvers that the host has now', { skip, timeout: 30_000 }, async () => {
  const { stdout } = await promisify(execFile)('unshare', ['--mount', '--net', process.execPath, script]);
  assert.deepEqual(JSON.parse(stdout), [['1.1.1.1'], ['2.2.2.2']]);
});
