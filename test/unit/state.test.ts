import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Key } from '../../src/identity/key.ts';
import { State, type SandboxRow } from '../../src/state/state.ts';

const row: SandboxRow = {
  handle: 'sb_1',
  principal: 'alice',
  scopeKind: 'conversation',
  scopeId: 'chat-1',
  template: 'data',
  volume: 'vol-1',
  state: 'idle',
  created: 1,
  lastUsed: 2,
  expires: null,
  lost: ['Gone.'],
};

function keyOf(principal: string, kind: 'conversation' | 'handle', id: string): Key {
  return { principal: { id: principal }, scope: { kind, id } };
}

function directory(t: { after(run: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), 'berth-state-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

test('a sandbox is found by its key and by its handle, by its principal alone', (t) => {
  using state = new State(directory(t));
  state.insert(row);
  assert.deepEqual(state.find(keyOf('alice', 'conversation', 'chat-1')), row);
  assert.deepEqual(state.find(keyOf('alice', 'handle', 'sb_1')), row);
  assert.equal(state.find(keyOf('bob', 'conversation', 'chat-1')), undefined);
  assert.equal(state.find(keyOf('bob', 'handle', 'sb_1')), undefined);
});

test('a session is known to its principal alone', (t) => {
  using state = new State(directory(t));
  state.saveSession({ id: 'session', principal: 'alice', initialize: '{}' });
  assert.deepEqual([state.session('session', 'alice'), state.session('session', 'bob')], ['{}', undefined]);
});

test('identity, secret and rows survive a reopening', (t) => {
  const path = directory(t);
  const first = new State(path);
  first.insert(row);
  const [instance, token] = [first.instance, first.derive('token', 'c')];
  first[Symbol.dispose]();
  using second = new State(path);
  assert.equal(second.instance, instance);
  assert.deepEqual(second.derive('token', 'c'), token);
  assert.deepEqual(second.all(), [row]);
});

test('only the owner reads the state, also in a directory that is open to all', (t) => {
  const path = directory(t);
  chmodSync(path, 0o755);
  for (const name of ['state.sqlite', 'state.sqlite-wal']) writeFileSync(join(path, name), '', { mode: 0o644 });
  using _state = new State(path);
  const files = readdirSync(path).filter((name) => name.startsWith('state.'));
  assert.deepEqual(files, ['state.sqlite', 'state.sqlite-shm', 'state.sqlite-wal']);
  for (const name of files) assert.equal(statSync(join(path, name)).mode & 0o777, 0o600, name);
});

test('one key has one sandbox', (t) => {
  using state = new State(directory(t));
  state.insert(row);
  assert.throws(() => state.insert({ ...row, handle: 'sb_2', volume: 'vol-2' }), /UNIQUE/);
  state.insert({ ...row, handle: 'sb_3', volume: 'vol-3', principal: 'bob' });
});

test('what a shell is to begin with is kept until it is dropped, and goes with its sandbox', (t) => {
  const path = directory(t);
  const first = new State(path);
  first.insert(row);
  first.insert({ ...row, handle: 'sb_2', volume: 'vol-2', principal: 'bob' });
  assert.equal(first.takeShell('sb_1'), undefined);
  const snapshot = Buffer.from("/\0umask 0022\n\0\0\0declare -- V=$'\\377'\n\0\0\0");
  first.keepShell('sb_1', Buffer.from('/\0older'));
  first.keepShell('sb_1', snapshot);
  first[Symbol.dispose]();
  using second = new State(path);
  assert.deepEqual(Buffer.from(second.takeShell('sb_1') ?? []), snapshot);
  assert.deepEqual(Buffer.from(second.takeShell('sb_1') ?? []), snapshot);
  assert.equal(second.takeShell('sb_2'), undefined);
  second.keepShell('sb_1', undefined);
  assert.equal(second.takeShell('sb_1'), undefined);
  second.keepShell('sb_1', snapshot);
  second.remove('sb_1');
  second.insert(row);
  assert.equal(second.takeShell('sb_1'), undefined);
});

test('a shell that is too large to keep is not kept, nor is the one before it', (t) => {
  using state = new State(directory(t));
  state.insert(row);
  state.keepShell('sb_1', Buffer.alloc(1_052_678, 'a'));
  assert.equal(state.takeShell('sb_1')?.length, 1_052_678);
  state.keepShell('sb_1', randomBytes(256 * 1024));
  assert.equal(state.takeShell('sb_1')?.length, undefined);
  state.keepShell('sb_1', randomBytes(255 * 1024));
  assert.equal(state.takeShell('sb_1')?.length, 255 * 1024);
  state.keepShell('sb_1', Buffer.alloc(1_052_679, 'a'));
  assert.equal(state.takeShell('sb_1')?.length, undefined);
});

test('a second server on the same directory is refused by a sentence', (t) => {
  const path = directory(t);
  using state = new State(path);
  assert.ok(state.instance);
  assert.throws(() => new State(path), {
    name: 'AppError',
    code: 'conflict',
    message: 'server.state_dir: another Berth server is using this directory; stop it or choose another directory.',
  });
});

test('removing a sandbox removes its commands', (t) => {
  using state = new State(directory(t));
  state.insert(row);
  state.saveCommand({ handle: 'sb_1', commandId: 'cmd_1', record: '{"a":1}' });
  assert.deepEqual(state.commands('sb_1'), [{ handle: 'sb_1', commandId: 'cmd_1', record: '{"a":1}' }]);
  state.remove('sb_1');
  assert.deepEqual(state.commands('sb_1'), []);
  assert.equal(state.count(), 0);
});
