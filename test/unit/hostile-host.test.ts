import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { channelBody, ScriptedHost, u16, u32, u64, u8 } from '../support/scripted-host.ts';
import { open } from '../support/scripted-session.ts';

const channel = fc.constantFrom(0, 1, 2, 3, 0xffff_ffff);
const stream = fc.constantFrom(0, 1);
const offset = fc.oneof(fc.constantFrom(0, 1, 5, 2 ** 20, 2 ** 52), fc.nat({ max: 300_000 }));
const text = fc.oneof(fc.string({ maxLength: 20, unit: 'binary' }), fc.constantFrom('/tmp', '\x1b[6n', '\x1b[2J'));
const size = fc.constantFrom(1, 3, 65_536);

type Step = (host: ScriptedHost) => void;

/** Frames that are well formed and say what they like. */
const lie: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(channel, stream, offset, size).map(
    ([c, s, o, n]): Step =>
      (host) =>
        host.data(c, s, o, Buffer.alloc(n, 65)),
  ),
  fc.tuple(channel, stream, text).map(
    ([c, s, t]): Step =>
      (host) =>
        host.data(c, s, 0, t || 'x'),
  ),
  fc.tuple(channel, stream, offset).map(
    ([c, s, o]): Step =>
      (host) =>
        host.eof(c, s, o),
  ),
  fc.tuple(channel, fc.constantFrom(0, 1, 2, 3), fc.integer(), offset, offset, text).map(
    ([c, how, code, a, b, cwd]): Step =>
      (host) =>
        host.done(c, how, code >>> 0, [a, b], cwd.replaceAll('\0', '')),
  ),
  fc.tuple(channel, offset).map(
    ([c, o]): Step =>
      (host) =>
        host.say(0x88, u32(c), u64(o)),
  ),
  fc.tuple(channel, fc.integer({ min: 1, max: 5 }), text).map(
    ([c, code, t]): Step =>
      (host) =>
        host.say(0x89, u32(c), u8(code), `${t.replaceAll('\0', '')}\0`),
  ),
  fc.tuple(fc.nat({ max: 5 }), channel).map(([generation, running]): Step => (host) => {
    host.generation = generation;
    host.running = running;
    host.shell();
  }),
  fc.constant<Step>((host) => host.say(0x8a, u64(77), u32(1), u32(1))),
  fc.tuple(fc.constantFrom(1n, 2n), fc.constantFrom(0, 3, 13, 2 ** 20, 2 ** 31), text).map(
    ([cookie, total, t]): Step =>
      (host) =>
        host.say(0x8b, u64(cookie), u32(total), t),
  ),
  fc.constant<Step>((host) => host.say(0x8b, u64(1), u32(13), '/a\0u\0\0\0v\0\0\0')),
  fc.constant<Step>((host) => host.say(0x84)),
  fc.constant<Step>((host) =>
    host.say(
      0x82,
      channelBody(1, 1, true, [
        [0, 9, true],
        [0, 0, true],
      ]),
    ),
  ),
  fc.constant<Step>((host) => host.say(0x87, u32(1), u16(0))),
  fc.constant<Step>((host) => host.cut()),
);

test('a host that lies can lose its sandbox and do no other harm', async () => {
  const stray: unknown[] = [];
  const note = (error: unknown) => stray.push(error);
  process.on('unhandledRejection', note);
  const seconds = Number(process.env['FUZZ_SECONDS'] ?? 0);
  const bound = seconds > 0 ? { numRuns: 1e9, interruptAfterTimeLimit: seconds * 1000 } : { numRuns: 300 };
  await fc.assert(
    fc.asyncProperty(fc.array(lie, { maxLength: 30 }), async (lies) => {
      const container = new ScriptedHost();
      const host = await open(container);
      const ends = Promise.allSettled([host.shell.run('x'), host.shell.run('y'), host.terminals.start()]);
      await container.next('open');
      const carried = host.carry();
      for (const say of lies) {
        say(container);
        await new Promise(setImmediate);
      }
      await container.remove();
      await host.closed;
      assert.equal((await ends).length, 3);
      assert.ok([undefined, 13].includes((await carried)?.length));
      await host[Symbol.asyncDispose]();
    }),
    bound,
  );
  process.off('unhandledRejection', note);
  assert.deepEqual(stray, []);
});
