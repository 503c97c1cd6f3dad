import assert from 'node:assert/strict';
import { test } from 'node:test';
import { groupPolicy } from '../../src/identity/groups.ts';
import { identifier } from '../../src/identity/identity.ts';
import { testConfig } from '../support/server.ts';

const policy = groupPolicy({
  analysts: { templates: ['data'], sandboxes: 2 },
  builders: { templates: ['base'], sandboxes: 5 },
  owners: { sandboxes: 0 },
  '*': { templates: ['base'], sandboxes: 1 },
});

test('groups add up', () => {
  assert.deepEqual(policy(['analysts']), { templates: ['data'], sandboxes: 2 });
  assert.deepEqual(policy(['analysts', 'builders', 'unheard of']), { templates: ['data', 'base'], sandboxes: 5 });
  assert.deepEqual(policy(['analysts', 'owners']), { sandboxes: 0 });
});

test('`*` is for whoever is in no group that is named, and cannot be joined', () => {
  assert.deepEqual(policy([]), { templates: ['base'], sandboxes: 1 });
  assert.deepEqual(policy(['unheard of']), { templates: ['base'], sandboxes: 1 });
  assert.deepEqual(policy(['*', 'analysts']), { templates: ['data'], sandboxes: 2 });
  assert.deepEqual(policy(['__proto__', 'constructor']), { templates: ['base'], sandboxes: 1 });
});

test('without rules there is nothing but the common limits', () => assert.deepEqual(groupPolicy({})(['a']), {}));

const key = 'key-of-open-webui-0123456789';

async function principal(headers: Record<string, string>, entry: object = {}) {
  const config = testConfig({
    auth: {
      keys: [{ name: 'chat', key, users: 'headers', ...entry }],
      groups: { 'Data & Ärzte': { templates: ['data', 'base'], sandboxes: 3 } },
    },
  });
  const all: Record<string, string> = { authorization: `Bearer ${key}`, 'X-OpenWebUI-User-Id': 'ada', ...headers };
  const { principal } = await identifier(config)(
    (name) => Object.entries(all).find(([other]) => other.toLowerCase() === name.toLowerCase())?.[1],
  );
  return principal;
}

test('groups come from the header, percent-encoded where they are not ASCII', async () => {
  const { templates, sandboxes } = await principal({ 'X-OpenWebUI-User-Groups': 'others, Data & %C3%84rzte' });
  assert.deepEqual([templates, sandboxes], [['data', 'base'], 3]);
});

test('groups never give more than the key does', async () => {
  const { templates } = await principal({ 'X-OpenWebUI-User-Groups': 'Data & %C3%84rzte' }, { templates: ['base'] });
  assert.deepEqual(templates, ['base']);
  assert.deepEqual((await principal({}, { templates: ['base'] })).templates, ['base']);
});

test('a user’s id is bounded, and two long ones stay two', async () => {
  const { id } = await principal({ 'X-OpenWebUI-User-Id': 'x'.repeat(5000) });
  assert.match(id, /^user:chat:~[0-9a-f]{64}$/);
  assert.notEqual(id, (await principal({ 'X-OpenWebUI-User-Id': 'x'.repeat(5001) })).id);
  assert.match((await principal({ 'X-OpenWebUI-User-Id': 'a:b' })).id, /^user:chat:~/);
});
