import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test, type TestContext } from 'node:test';
import { openKeys } from '../../src/identity/key-store.ts';
import { stateVersion } from '../../src/state/migrations.ts';
import { State } from '../../src/state/state.ts';

/** A copy of the database that a server wrote before databases had a version. */
function unversioned(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'berth-migrations-'));
  t.after(() => rmSync(path, { recursive: true }));
  copyFileSync(join(import.meta.dirname, '../fixtures/state-0/state.sqlite'), join(path, 'state.sqlite'));
  return path;
}

const fileOf = (directory: string): DatabaseSync => new DatabaseSync(join(directory, 'state.sqlite'));

function versionOf(directory: string): unknown {
  using db = fileOf(directory);
  return db.prepare('PRAGMA user_version').get()?.['user_version'];
}

function setVersion(directory: string, version: number): void {
  using db = fileOf(directory);
  db.exec(`PRAGMA user_version = ${version}`);
}

test('a state without a version is brought to this one, and keeps all it had', (t) => {
  const path = unversioned(t);
  assert.equal(versionOf(path), 0);
  using state = new State(path);
  assert.equal(versionOf(path), stateVersion);
  assert.equal(state.instance, 'b91b5337f5');
  const [row] = state.all();
  assert.deepEqual([row?.handle, row?.principal, row?.state], ['sb_d5702bd3127aba178b415eab', 'anonymous', 'live']);
  assert.deepEqual(state.commands(row!.handle)[0]?.commandId, 'cmd_2_99ce7fbbb06d3001');
  assert.match(state.session(row!.scopeId, 'anonymous') ?? '', /"method":"initialize"/);
  assert.deepEqual(
    state.keys.list().map(({ name, revoked }) => [name, revoked !== null]),
    [
      ['alice', false],
      ['bob', true],
    ],
  );
});

test('the command line migrates as the server does, and a new state has the version at once', (t) => {
  const path = unversioned(t);
  openKeys(path)[Symbol.dispose]();
  assert.equal(versionOf(path), stateVersion);
  const other = join(path, 'new');
  new State(other)[Symbol.dispose]();
  assert.equal(versionOf(other), stateVersion);
});

test('a version that only a newer Berth knows is refused in one sentence, and left as it is', (t) => {
  const path = unversioned(t);
  setVersion(path, stateVersion + 1);
  const message = `server.state_dir: its database has version ${stateVersion + 1}, and this Berth knows versions up to ${stateVersion}; start the newer Berth that wrote it, or restore a backup from before the upgrade.`;
  assert.throws(() => new State(path), { code: 'unsupported', message });
  assert.throws(() => openKeys(path), { code: 'unsupported', message });
  assert.equal(versionOf(path), stateVersion + 1);
  setVersion(path, stateVersion);
  new State(path)[Symbol.dispose]();
});

test('a step that fails changes nothing', (t) => {
  const path = unversioned(t);
  {
    using db = fileOf(path);
    db.exec('DROP TABLE sandboxes; CREATE VIEW sandboxes AS SELECT 1; DROP TABLE mcp_sessions;');
    db.exec('CREATE VIEW mcp_sessions AS SELECT 1; DROP TABLE commands; DROP TABLE keys;');
    db.exec('CREATE INDEX keys ON instance (id);');
  }
  assert.throws(() => new State(path));
  using db = fileOf(path);
  const made = db.prepare("SELECT count(*) AS n FROM sqlite_schema WHERE name = 'commands'").get();
  assert.deepEqual([made?.['n'], versionOf(path)], [0, 0]);
});
