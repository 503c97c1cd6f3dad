import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Admission, type AdmissionLimits } from '../../src/sandbox/lifecycle/admission.ts';
import type { Entry } from '../../src/sandbox/lifecycle/entry.ts';
import { Headroom } from '../../src/sandbox/lifecycle/headroom.ts';
import { newHandle, Roster } from '../../src/sandbox/lifecycle/roster.ts';
import { State } from '../../src/state/state.ts';

const GiB = 1024 ** 3;
const never = new AbortController().signal;

function bench(t: TestContext, limits: Partial<AdmissionLimits> = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'berth-admission-'));
  const state = new State(directory);
  t.after(() => {
    state[Symbol.dispose]();
    rmSync(directory, { recursive: true });
  });
  const roster = new Roster(state);
  const evicted: string[] = [];
  const all: AdmissionLimits = {
    maxSandboxes: 4,
    maxPerPrincipal: 0,
    maxStarts: 2,
    memory: { each: 0, total: 0, of: () => GiB, largest: GiB },
    queue: { longest: 100, wait: 60 },
    ...limits,
  };
  const admission = new Admission(roster, all, async (entry) => {
    evicted.push(entry.row.handle);
    end(entry);
    return true;
  });
  const end = (entry: Entry) => {
    entry.row = { ...entry.row, state: 'idle' };
    admission.freed();
  };
  const entryOf = (principal: string): Entry => {
    const handle = newHandle();
    const row = { principal, scopeKind: 'handle', scopeId: handle, template: 'data', volume: handle } as const;
    return roster.remember({ handle, ...row, state: 'idle', created: 0, lastUsed: 0, expires: null, lost: [] });
  };
  /** Through the whole start. */
  const start = async (entry: Entry, meanwhile = async () => {}) => {
    using place = await admission.admit(entry, never);
    entry.row = { ...entry.row, state: 'live' };
    entry.leases = 1;
    await meanwhile();
    return place;
  };
  return { admission, roster, evicted, entryOf, start, end };
}

test('a storm of first calls goes through, a bounded number at a time, one principal after the other', async (t) => {
  const { entryOf, start } = bench(t, { maxSandboxes: 200, maxStarts: 8 });
  const order: string[] = [];
  let [inside, most] = [0, 0];
  const one = async (principal: string) =>
    await start(entryOf(principal), async () => {
      order.push(principal);
      most = Math.max(most, ++inside);
      await new Promise((done) => setTimeout(done, 2));
      inside -= 1;
    });
  const names = [...Array<string>(90).fill('greedy'), ...Array.from({ length: 10 }, (_, at) => `guest ${at}`)];
  const outcomes = await Promise.allSettled(names.map(one));
  assert.ok(outcomes.every(({ status }) => status === 'fulfilled'));
  assert.equal(most, 8);
  assert.ok(order.lastIndexOf('guest 9') < 8 + 2 * 11, 'who came last waited for one round of turns only');
});

test('at the bound a call waits, hears its place, and has the place of the next one that ends', async (t) => {
  const { entryOf, start, end } = bench(t, { maxSandboxes: 1 });
  const [first, second] = [entryOf('a'), entryOf('b')];
  await start(first);
  const said: string[] = [];
  using _listening = second.listen((message) => said.push(message));
  const waiting = start(second);
  await new Promise(setImmediate);
  assert.deepEqual(said, ['Waiting for a place: number 1 of 1 in the queue.']);
  end(first);
  await waiting;
  assert.equal(second.row.state, 'live');
});

test('a call that has waited for long enough is refused with its place and when to come again', async (t) => {
  const { entryOf, start } = bench(t, { maxSandboxes: 1, queue: { longest: 10, wait: 0.05 } });
  await start(entryOf('a'));
  const outcomes = await Promise.allSettled([start(entryOf('b')), start(entryOf('c'))]);
  const errors = outcomes.map(
    (outcome) => (outcome as PromiseRejectedResult).reason as { message: string; data: object },
  );
  assert.equal(
    errors[1]?.message,
    'All 1 sandboxes of this server are in use; end one of yours with end_sandbox or try again in 30 s.',
  );
  assert.equal(
    errors[0]?.message,
    'All 1 sandboxes of this server are in use, and 2 calls wait, yours at place 1; end one of yours with end_sandbox or try again in 30 s.',
  );
  assert.deepEqual(errors[0]?.data, { retry_after: 30, position: 1, waiting: 2 });
});

test('a wait for a turn to start is never too long: only a wait for a place is', async (t) => {
  const { entryOf, start } = bench(t, { maxStarts: 1, queue: { longest: 10, wait: 0 } });
  const slow = start(entryOf('a'), () => new Promise((done) => setTimeout(done, 60)));
  await Promise.all([slow, start(entryOf('b'))]);
});

test('one’s own bound refuses at once, also among starts at the same time, and makes others wait for nothing', async (t) => {
  const { entryOf, start } = bench(t, { maxPerPrincipal: 2 });
  const outcomes = await Promise.allSettled([1, 2, 3].map(() => start(entryOf('a'))));
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected'],
  );
  await assert.rejects(start(entryOf('a')), {
    message: 'You have 2 sandboxes running, the most allowed; end one with end_sandbox or try again in a minute.',
    data: { retry_after: 60 },
  });
  await start(entryOf('b'));
});

test('the memory of one’s own sandboxes together is bounded, and of all', async (t) => {
  const memory = { each: 2 * GiB, total: 3 * GiB, of: () => GiB, largest: GiB };
  const { entryOf, start } = bench(t, { memory, queue: { longest: 10, wait: 0 } });
  await start(entryOf('a'));
  await start(entryOf('a'));
  await assert.rejects(start(entryOf('a')), {
    code: 'busy',
    message:
      'Your 2 running sandboxes may use 2048 MiB of memory, another one 1024 MiB, and 2048 MiB are allowed; end one with end_sandbox or try again in a minute.',
  });
  await start(entryOf('b'));
  await assert.rejects(
    start(entryOf('c')),
    /^AppError: The sandboxes of this server may use 3072 MiB of memory together, and that is in use/,
  );
});

test('what has been idle for longest makes room, for its owner’s bound as for all', async (t) => {
  const { entryOf, start, evicted } = bench(t, { maxSandboxes: 2 });
  const [older, newer] = [entryOf('a'), entryOf('b')];
  for (const entry of [older, newer]) {
    await start(entry);
    entry.leases = 0;
  }
  older.lastUsed -= 120_000;
  newer.lastUsed -= 90_000;
  await start(entryOf('c'));
  assert.deepEqual(evicted, [older.row.handle]);
});

test('where the host is short of memory nothing starts, and where it is shorter the idlest goes', async (t) => {
  let free = GiB;
  const headroom = new Headroom({
    total: () => 8 * GiB,
    committed: () => 8 * GiB - free,
    start: GiB / 2,
    idle: GiB / 4,
  });
  const { admission, entryOf, start, evicted } = bench(t, { headroom, queue: { longest: 10, wait: 0 } });
  const first = entryOf('a');
  await start(first);
  first.leases = 0;
  first.lastUsed -= 120_000;
  await admission.relieve();
  assert.deepEqual(evicted, []);
  free = GiB / 8;
  await new Promise((done) => setTimeout(done, 510));
  await admission.relieve();
  assert.deepEqual(evicted, [first.row.handle]);
  await assert.rejects(start(entryOf('b')), /The host has 128 MiB of memory free, and no sandbox starts below 512 MiB/);
});
