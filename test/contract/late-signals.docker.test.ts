import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { NonceShell } from '../../src/sandbox/session/plain/nonce-shell.ts';
import type { LiveFrame } from '../../src/sandbox/session/wire/host-link.ts';
import type { Container, Runtime } from '../../src/sandbox/ports/runtime.ts';
import { newInstance, specOf, sweep, testRuntime } from '../support/docker-runtime.ts';

/** Signals that take their time, as on a busy engine, in a shell without a session host. */

const instance = newInstance();
let runtime: Runtime;

before(() => {
  runtime = testRuntime({ instance });
});

after(async () => {
  await runtime[Symbol.asyncDispose]();
  await sweep(instance);
});

/** The container, where the execs that send signals begin only when `gate` opens. */
function slowToSignal(container: Container, gate: Promise<unknown>): Container {
  const exec: Container['exec'] = async (argv, options) => {
    if (argv.some((word) => word.includes('kill -s'))) await gate;
    return await container.exec(argv, options);
  };
  return new Proxy(container, {
    get: (target, name) => {
      if (name === 'exec') return exec;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

test('a signal on its way when its command ends by itself does not reach the next command', async () => {
  const name = `late-${randomBytes(4).toString('hex')}`;
  const container = await runtime.open(specOf(name));
  const gate = Promise.withResolvers<void>();
  const [first, second, begun] = [1, 2, 3].map(() => Promise.withResolvers<number>());
  const emit = (frame: LiveFrame) => {
    if (frame.type === 'data' && frame.channel === 2) begun!.resolve(0);
    if (frame.type === 'done') (frame.channel === 1 ? first : second)!.resolve(frame.code);
  };
  try {
    await using shell = await NonceShell.start({
      container: slowToSignal(container, gate.promise),
      shell: '/bin/bash',
      cwd: '/',
      emit,
    });
    const run = (channel: number, text: string) =>
      shell.run({ channel, status: 0, window: 1024, text: Buffer.from(text) });
    run(1, 'sleep 0.2');
    const sent = shell.signal(1, [{ name: 'KILL', scope: 'tree' }]);
    // The end is told at once only where it does not wait for the signal: then the next command is there before it.
    const early = await Promise.race([first!.promise.then(() => true), sleep(2000, false)]);
    if (early) {
      run(2, 'echo begun; sleep 2');
      await begun!.promise;
    }
    gate.resolve();
    await Promise.all([sent, first!.promise]);
    if (!early) run(2, 'echo begun; sleep 0.2');
    assert.equal(await second!.promise, 0);
  } finally {
    await container.remove();
    await runtime.removeVolume(name);
  }
});
