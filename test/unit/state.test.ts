import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Key } from '../../src/sandbox/key.ts';
import { State, type SandboxRow } from '../../src/sandbox/state.ts';

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

test('one key has one sandbox', (t) => {
  using state = new State(directory(t));
  state.insert(row);
  assert.throws(() => state.insert({ ...row, handle: 'sb_2', volume: 'vol-2' }), /UNIQUE/);
  state.insert({ ...row, handle: 'sb_3', volume: 'vol-3', principal: 'bob' });
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
