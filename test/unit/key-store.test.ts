import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { hasStoredKeys, openKeys, type NewKey } from '../../src/identity/key-store.ts';
import { State } from '../../src/state/state.ts';

const ann: NewKey = { name: 'ann', scopes: ['tools'], expires: null };

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'berth-keys-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

test('a key is 32 random bytes behind a prefix, found by its text alone, and only its hash is in the file', (t) => {
  const path = directory(t);
  using keys = openKeys(path);
  const { text, key } = keys.create({ ...ann, templates: ['data'], users: 'headers' });
  assert.match(text, /^berth_[\w-]{43}$/);
  assert.deepEqual(keys.find(text), key);
  assert.equal(keys.find(`${text}x`), undefined);
  assert.equal(keys.find(key.id), undefined);
  for (const file of ['state.sqlite', 'state.sqlite-wal'])
    assert.ok(!readFileSync(join(path, file)).includes(text.slice('berth_'.length)));
});

test('what the command line changes counts at once in a server that has the state open', (t) => {
  const path = directory(t);
  using state = new State(path);
  assert.equal(state.keys.any(), false);
  using cli = openKeys(path);
  const { text } = cli.create(ann);
  assert.equal(state.keys.find(text)?.name, 'ann');
  assert.deepEqual(
    cli.revoke('ann').map(({ name }) => name),
    ['ann'],
  );
  assert.equal(state.keys.find(text), undefined);
});

test('one name may have several keys; an id revokes one, the name the rest', (t) => {
  using keys = openKeys(directory(t));
  const [first, second, third] = [keys.create(ann), keys.create(ann), keys.create(ann)];
  const other = keys.create({ ...ann, name: 'ben' });
  assert.deepEqual(
    keys.revoke(first.key.id).map(({ id }) => id),
    [first.key.id],
  );
  assert.equal(keys.find(first.text), undefined);
  assert.ok(keys.find(second.text));
  assert.equal(keys.revoke('ann').length, 2);
  assert.equal(keys.find(third.text), undefined);
  assert.equal(keys.revoke('ann').length, 0);
  assert.ok(keys.find(other.text));
});

test('an expired key is none', (t) => {
  using keys = openKeys(directory(t));
  assert.equal(keys.find(keys.create({ ...ann, expires: Date.now() - 1 }).text), undefined);
  assert.ok(keys.find(keys.create({ ...ann, expires: Date.now() + 60_000 }).text));
});

test('the last use is noted', (t) => {
  using keys = openKeys(directory(t));
  const { text } = keys.create(ann);
  assert.equal(keys.list()[0]?.lastUsed, null);
  keys.find(text);
  assert.ok(Math.abs((keys.list()[0]?.lastUsed ?? 0) - Date.now()) < 10_000);
});

test('a state whose keys are all revoked still has keys, one without a file has none and stays without', (t) => {
  const path = directory(t);
  assert.equal(hasStoredKeys(join(path, 'none')), false);
  assert.throws(() => readFileSync(join(path, 'none')), { code: 'ENOENT' });
  using keys = openKeys(path);
  keys.create(ann);
  keys.revoke('ann');
  assert.equal(hasStoredKeys(path), true);
});
