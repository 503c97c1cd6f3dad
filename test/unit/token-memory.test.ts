import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TokenMemory } from '../../src/identity/token-memory.ts';

test('only a token that was kept is held', () => {
  const memory = new TokenMemory(60);
  memory.keep('good');
  assert.deepEqual([memory.holds('good'), memory.holds('other')], [true, false]);
});

test('a token is held for so long after its last use', async () => {
  const memory = new TokenMemory(1.5);
  memory.keep('a');
  memory.keep('b');
  await sleep(1000);
  assert.equal(memory.holds('a'), true);
  await sleep(1000);
  assert.deepEqual([memory.holds('a'), memory.holds('b')], [true, false]);
});

test('no more than ten thousand are held: the longest unused goes first', () => {
  const memory = new TokenMemory(60);
  for (let i = 0; i < 10_000; i++) memory.keep(`token ${i}`);
  memory.keep('token 0');
  memory.keep('one more');
  assert.deepEqual([memory.holds('token 0'), memory.holds('token 1'), memory.holds('token 2')], [true, false, true]);
});
