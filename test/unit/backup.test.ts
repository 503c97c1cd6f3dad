import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test, type TestContext } from 'node:test';
import { backUp, restore } from '../../src/state/backup.ts';
import { State, type SandboxRow } from '../../src/state/state.ts';

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'berth-backup-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

function row(handle: string, principal = 'alice'): SandboxRow {
  const times = { created: 1, lastUsed: 2, expires: null };
  const scope = { scopeKind: 'handle', scopeId: handle } as const;
  return { handle, principal, ...scope, template: 'data', volume: `vol-${handle}`, state: 'idle', ...times, lost: [] };
}

test('a backup is made while a server uses the state, holds what it wrote last, and is for its owner alone', async (t) => {
  const [path, file] = [directory(t), join(directory(t), 'copy')];
  using state = new State(path);
  state.insert(row('sb_1'));
  await backUp(path, file);
  state.insert(row('sb_2'));
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(join(file, '..')), ['copy']);
  using db = new DatabaseSync(file, { readOnly: true });
  assert.deepEqual(
    db
      .prepare('SELECT handle FROM sandboxes')
      .all()
      .map(({ handle }) => handle),
    ['sb_1'],
  );
});

test('a backup leaves out ready sandboxes, which may be somebody’s by the time of a restore', async (t) => {
  const [path, file] = [directory(t), join(directory(t), 'copy')];
  {
    using state = new State(path);
    state.insert(row('sb_ready', ''));
    state.saveCommand({ handle: 'sb_ready', commandId: 'c', record: '{}' });
    state.insert(row('sb_1'));
  }
  await backUp(path, file);
  await restore(path, file);
  using state = new State(path);
  assert.deepEqual(
    state.all().map(({ handle }) => handle),
    ['sb_1'],
  );
  assert.deepEqual(state.commands('sb_ready'), []);
});

test('a restore brings back the state and its identity, and keeps what was there before', async (t) => {
  const [path, file] = [directory(t), join(directory(t), 'copy')];
  const first = new State(path);
  first.insert(row('sb_1'));
  await backUp(path, file);
  first.insert(row('sb_2'));
  const { instance } = first;
  await assert.rejects(restore(path, file), { code: 'conflict' });
  assert.equal(first.all().length, 2);
  first[Symbol.dispose]();
  const before = await restore(path, file);
  using state = new State(path);
  assert.deepEqual([state.instance, state.all().length], [instance, 1]);
  using db = new DatabaseSync(before!, { readOnly: true });
  assert.equal(db.prepare('SELECT count(*) AS n FROM sandboxes').get()?.['n'], 2);
  const other = directory(t);
  assert.equal(await restore(other, file), undefined);
  using moved = new State(other);
  assert.equal(moved.instance, instance);
});

test('what cannot be backed up or restored is refused, and nothing is changed', async (t) => {
  const [path, file] = [directory(t), join(directory(t), 'copy')];
  await assert.rejects(backUp(path, file), { code: 'not_found' });
  new State(path)[Symbol.dispose]();
  writeFileSync(file, 'no database');
  await assert.rejects(backUp(path, file), {
    code: 'conflict',
    message: `FILE: expected the name of a new file, got ${file}, which is there already.`,
  });
  const refused = { code: 'invalid_argument', message: `FILE: expected a file that berth backup wrote, got ${file}.` };
  await assert.rejects(restore(path, file), refused);
  await assert.rejects(restore(path, `${file}2`), { code: 'not_found' });
  await assert.rejects(backUp(path, join(path, 'missing', 'copy')), { code: 'invalid_argument' });
  assert.ok(readdirSync(path).includes('state.sqlite'));
});
