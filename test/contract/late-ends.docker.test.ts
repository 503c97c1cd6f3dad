import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { NonceShell } from '../../src/sandbox/session/plain/nonce-shell.ts';
import type { LiveFrame } from '../../src/sandbox/session/wire/host-link.ts';
import type { Container, Runtime } from '../../src/sandbox/ports/runtime.ts';
import { newInstance, specOf, sweep, testRuntime } from '../support/docker-runtime.ts';

/** A shell's last words that come all at once, as from a busy engine, where there is no session host. */

const instance = newInstance();
let runtime: Runtime;

before(() => {
  runtime = testRuntime({ instance });
});

after(async () => {
  await runtime[Symbol.asyncDispose]();
  await sweep(instance);
});

/** The stream: what comes up to the shell's first mark as it comes, all that follows as one chunk at its end. */
function atOnce(stream: ReadableStream<Uint8Array>, marked: boolean): ReadableStream<Uint8Array> {
  let begun = !marked;
  const held: Uint8Array[] = [];
  return stream.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        if (begun) held.push(chunk);
        else controller.enqueue(chunk);
        begun ||= Buffer.from(chunk).includes('ready ');
      },
      flush: (controller) => controller.enqueue(Buffer.concat(held)),
    }),
  );
}

function inOneChunk(container: Container): Container {
  const exec: Container['exec'] = async (argv, options) => {
    const process = await container.exec(argv, options);
    const streams = { stdout: atOnce(process.stdout, true), stderr: atOnce(process.stderr, false) };
    return new Proxy(process, { get: (target, name) => own(streams, name) ?? bound(target, name) });
  };
  return new Proxy(container, { get: (target, name) => (name === 'exec' ? exec : bound(target, name)) });
}

function own(object: object, name: string | symbol): unknown {
  return Reflect.get(object, name);
}

function bound(target: object, name: string | symbol): unknown {
  const value: unknown = Reflect.get(target, name, target);
  return typeof value === 'function' ? (value.bind(target) as unknown) : value;
}

test('a command that reported its end has ended by itself, also where the word of it comes with that of the shell’s end', async () => {
  const name = `ends-${randomBytes(4).toString('hex')}`;
  const container = await runtime.open(specOf(name));
  const done = Promise.withResolvers<Extract<LiveFrame, { type: 'done' }>>();
  const emit = (frame: LiveFrame) => {
    if (frame.type === 'done') done.resolve(frame);
  };
  try {
    const options = { container: inOneChunk(container), shell: '/bin/bash', cwd: '/', emit };
    await using shell = await NonceShell.start(options);
    // Its own input is among them: the shell ends after the command that closed it.
    const text = Buffer.from('for i in {3..254}; do eval "exec $i>&-"; done 2>/dev/null; (exit 3)');
    shell.run({ channel: 1, status: 0, window: 1024, text });
    const { how, code } = await done.promise;
    assert.deepEqual([how, code], ['reported', 3]);
  } finally {
    await container.remove();
    await runtime.removeVolume(name);
  }
});
