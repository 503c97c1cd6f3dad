import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { newInstance, specOf, sweep, testRuntime } from '../support/docker-runtime.ts';
import { sh } from '../support/run.ts';

const instance = newInstance();
after(() => sweep(instance));

test('the base image has the directories that packages built on it make links in', { timeout: 60_000 }, async () => {
  await using runtime = testRuntime({ instance });
  const box = await runtime.open(specOf(`berth-${instance}-base`));
  assert.match(await sh(box, 'ls -d /usr/share/man/man1 /usr/share/man/man8'), /man1\n.*man8/);
});
