import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { DiskWatch } from '../../src/sandbox/lifecycle/disk-watch.ts';

const MiB = 1024 ** 2;

/** A watch over one sandbox of 2 MiB; `sizes` is what each look finds. */
async function looks(sizes: readonly number[]): Promise<string[]> {
  const left = [...sizes];
  const told: string[] = [];
  using watch = new DiskWatch({
    runtime: { volumeSizes: async () => new Map([['v1', left.shift() ?? 0]]) },
    running: () => [{ handle: 'sb_1', volume: 'v1', limit: 2 * MiB }],
    stop: async (handle, why) => void told.push(`${handle}: ${why}`),
    interval: 3600,
    log: pino({ level: 'silent' }),
  });
  for (const _ of sizes) await watch.look();
  return told;
}

test('a sandbox within its size is let be', async () => {
  assert.deepEqual(await looks([0, MiB, 2 * MiB]), []);
});

test('one above its size is stopped, with the sizes', async () => {
  assert.deepEqual(await looks([MiB, 3 * MiB + 1]), ['sb_1: its workspace held 4 MiB, more than its 2 MiB']);
});

test('one that makes room after it was stopped is let be', async () => {
  const why = 'sb_1: its workspace held 5 MiB, more than its 2 MiB';
  assert.deepEqual(await looks([5 * MiB, 5 * MiB, 3 * MiB, MiB]), [why]);
});

test('one that goes on growing is stopped again', async () => {
  assert.equal((await looks([3 * MiB, 4 * MiB, 5 * MiB])).length, 3);
});

test('one that was within its size again has no more than that', async () => {
  assert.equal((await looks([5 * MiB, MiB, 3 * MiB])).length, 2);
});

test('nothing is measured while nothing runs', async () => {
  using watch = new DiskWatch({
    runtime: { volumeSizes: () => Promise.reject(new Error('asked')) },
    running: () => [],
    stop: async () => {},
    interval: 3600,
    log: pino({ level: 'silent' }),
  });
  await watch.look();
});
