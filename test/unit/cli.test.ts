import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { audit } from '../../src/cli/audit.ts';
import type { Invocation } from '../../src/cli/invocation.ts';
import { key } from '../../src/cli/key.ts';
import { openKeys } from '../../src/identity/key-store.ts';

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'berth-cli-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

interface Said {
  readonly code: number;
  readonly out: string;
}

async function run(
  command: (invocation: Invocation) => Promise<number>,
  { rest, flags = {}, env = {} }: Partial<Pick<Invocation, 'rest' | 'flags' | 'env'>>,
): Promise<Said> {
  let out = '';
  const given = { rest, flags, env, out: { write: (part: string) => void (out += part) }, err: { write: () => {} } };
  const code = await command(given as unknown as Invocation);
  return { code, out };
}

describe('berth key create', () => {
  test('makes no key that may do nothing', async (t) => {
    const path = directory(t);
    const env = { BERTH_SERVER__STATE_DIR: path };
    const refused: readonly (readonly [Invocation['flags'], string])[] = [
      [{ scopes: ',' }, '--scopes: expected some of tools, files, terminals, metrics, read, got ",".'],
      [{ scopes: ' ' }, '--scopes: expected some of tools, files, terminals, metrics, read, got " ".'],
      [{ templates: ',' }, '--templates: expected some of data, base, got ",".'],
    ];
    for (const [flags, message] of refused)
      await assert.rejects(run(key, { rest: ['create', 'ann'], flags, env }), { name: 'AppError', message });
    using keys = openKeys(path);
    assert.deepEqual(keys.list(), []);
  });
});

describe('berth audit verify', () => {
  const verify = (file: string) => run(audit, { rest: ['verify', file] });

  test('says that there is no log, or that a directory is none', async (t) => {
    const path = directory(t);
    const gone = join(path, 'gone');
    await assert.rejects(verify(gone), { name: 'AppError', message: `There is no audit log at ${gone}.` });
    await assert.rejects(verify(path), {
      name: 'AppError',
      message: `FILE: expected an audit log, got the directory ${path}.`,
    });
    const below = join(path, 'file', 'audit.jsonl');
    writeFileSync(join(path, 'file'), '');
    await assert.rejects(verify(below), {
      name: 'AppError',
      message: `The audit log ${below} cannot be read (ENOTDIR).`,
    });
  });

  test('says that an empty log holds no lines', async (t) => {
    const file = join(directory(t), 'audit.jsonl');
    writeFileSync(file, '');
    assert.deepEqual(await verify(file), { code: 0, out: `${file}: it holds no lines; there is nothing to check.\n` });
  });
});
