import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeRuntime } from '../support/fake-runtime.ts';
import { runtimeContract } from './runtime.contract.ts';

runtimeContract('the fake runtime', async () => {
  const runtime = new FakeRuntime();
  return {
    instance: runtime.instance,
    runtime,
    kill: async (container) => runtime.kill(container.id),
    dispose: async () => {
      assert.equal(runtime.ledger.closed, runtime.ledger.opened);
      await runtime[Symbol.asyncDispose]();
    },
  };
});

test('a fault fails the operation it is put on', async () => {
  await using runtime = new FakeRuntime();
  runtime.fault = (operation) => {
    if (operation === 'list') throw new Error('put in by the test');
  };
  await assert.rejects(runtime.list(), { message: 'put in by the test' });
});
