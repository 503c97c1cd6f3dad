import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Headroom } from '../../src/sandbox/lifecycle/headroom.ts';

const MiB = 1024 ** 2;

function headroom(options: { total?: number; available?: number; committed?: number; here?: number }): Headroom {
  const { total, available = 0, committed = 0, here = total } = options;
  return new Headroom({
    total: () => total,
    committed: () => committed,
    start: 512 * MiB,
    idle: 256 * MiB,
    meminfo: () => `MemTotal: ${(here ?? 0) / 1024} kB\nMemFree: 1 kB\nMemAvailable: ${available / 1024} kB\n`,
  });
}

test('on the engine’s own host the kernel says what is free', () => {
  const room = headroom({ total: 4096 * MiB, available: 600 * MiB, committed: 4096 * MiB });
  assert.deepEqual([room.shortage(), room.isLow()], [undefined, false]);
});

test('below the first band nothing starts, below the second idle sandboxes go', () => {
  const first = headroom({ total: 4096 * MiB, available: 300 * MiB });
  assert.equal(first.shortage(), 'The host has 300 MiB of memory free, and no sandbox starts below 512 MiB');
  assert.equal(first.isLow(), false);
  assert.equal(headroom({ total: 4096 * MiB, available: 200 * MiB }).isLow(), true);
});

test('elsewhere what the sandboxes may not use counts as free', () => {
  const room = headroom({ total: 8192 * MiB, committed: 7900 * MiB, here: 4096 * MiB, available: 4000 * MiB });
  assert.match(room.shortage() ?? '', /^The host has 292 MiB/);
});

test('while nothing is known of the host, everything may start', () => {
  const room = headroom({ here: 1 });
  assert.deepEqual([room.shortage(), room.isLow()], [undefined, false]);
});
