import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FairQueue } from '../../src/sandbox/lifecycle/fair-queue.ts';

/** A queue with so many places, and who went in, in order. */
function bench(places: number, longest = 100) {
  const order: string[] = [];
  const out: Disposable[] = [];
  const queue: FairQueue = new FairQueue({ room: () => queue.inside < places, longest });
  const enter = async (owner: string, name = owner, options = {}) => {
    const place = await queue.enter(owner, options);
    order.push(name);
    out.push(place);
  };
  /** The one that went in first goes out, and whoever is let in for him has gone in. */
  const leave = async () => {
    await new Promise(setImmediate);
    out.shift()?.[Symbol.dispose]();
    await new Promise(setImmediate);
  };
  return { queue, order, enter, leave };
}

test('owners take turns, each with his own in their order', async () => {
  const { queue, order, enter, leave } = bench(1);
  const all = ['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1'].map((name) => enter(name.slice(0, 1), name));
  for (let i = 1; i < all.length; i++) await leave();
  await Promise.all(all);
  assert.deepEqual(order, ['a1', 'a2', 'b1', 'c1', 'a3', 'b2', 'a4']);
  await leave();
  assert.deepEqual([queue.inside, queue.waiting], [0, 0]);
});

test('everybody is told his place, and again when it changes', async () => {
  const { enter, leave } = bench(1);
  const told: string[] = [];
  const tell = (name: string) => ({ onPlace: (place: number) => told.push(`${name} ${place}`) });
  const all = [enter('a'), ...['a1', 'a2', 'b1'].map((name) => enter(name.slice(0, 1), name, tell(name)))];
  assert.deepEqual(told.splice(0), ['a1 1', 'a2 2', 'b1 2', 'a2 3']);
  await leave();
  assert.deepEqual(told.splice(0), ['b1 1', 'a2 2']);
  await leave();
  await leave();
  await Promise.all(all);
});

test('who gives up makes way, and nobody is let in for him', async () => {
  const { queue, order, enter, leave } = bench(1);
  const stop = new AbortController();
  const all = [enter('a'), enter('b', 'b', { signal: stop.signal }), enter('c')];
  stop.abort(new Error('enough'));
  await assert.rejects(all[1]!, { message: 'enough' });
  assert.equal(queue.waiting, 1);
  await leave();
  await all[2];
  assert.deepEqual(order, ['a', 'c']);
});

test('beyond its bound the last of whoever has the most waiting is refused, not the newcomer', async () => {
  const { enter, leave } = bench(1, 3);
  const all = [enter('a', 'a0'), enter('a', 'a1'), enter('a', 'a2'), enter('a', 'a3')];
  const refused = assert.rejects(all[3]!, {
    code: 'busy',
    message: '3 calls wait for a sandbox already, the most allowed; try again in 30 s.',
  });
  const newcomer = enter('b');
  await refused;
  await assert.rejects(enter('a', 'a4'), { code: 'busy' });
  await leave();
  await leave();
  await newcomer;
});

test('room that comes from elsewhere is used when the queue is told', async () => {
  let room = false;
  const queue = new FairQueue({ room: () => room, longest: 10 });
  const entered = queue.enter('a');
  room = true;
  assert.equal(queue.waiting, 1);
  queue.pump();
  using place = await entered;
  assert.ok(place);
});
