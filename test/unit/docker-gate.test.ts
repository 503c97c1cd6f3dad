import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Gate, Turns } from '../../src/runtimes/docker/gate.ts';
import { Starts } from '../../src/runtimes/docker/starts.ts';

const later = () => new Promise((resolve) => setImmediate(resolve));

describe('a gate', () => {
  test('lets as many in as it has places, then in the order they came', async () => {
    const gate = new Gate(2);
    const order: number[] = [];
    const places = Array.from({ length: 4 }, (_, at) => gate.enter().then((place) => (order.push(at), place)));
    await later();
    assert.deepEqual(order, [0, 1]);
    (await places[1]!)[Symbol.dispose]();
    await later();
    assert.deepEqual(order, [0, 1, 2]);
    (await places[0]!)[Symbol.dispose]();
    await later();
    assert.deepEqual(order, [0, 1, 2, 3]);
  });

  test('is left by who gives up waiting, and nobody else loses his place', async () => {
    const gate = new Gate(1);
    const inside = await gate.enter();
    const cancel = new AbortController();
    const given = gate.enter(cancel.signal);
    const last = gate.enter();
    cancel.abort();
    await assert.rejects(given, { code: 'cancelled' });
    inside[Symbol.dispose]();
    (await last)[Symbol.dispose]();
    assert.ok(gate.idle(1));
  });

  test('refuses who has given up before', async () => {
    await assert.rejects(new Gate(1).enter(AbortSignal.abort()), { code: 'cancelled' });
  });
});

describe('turns', () => {
  test('of one name follow each other, of two do not, and a name is forgotten after', async () => {
    const turns = new Turns();
    const first = await turns.take('a');
    const second = turns.take('a');
    const other = await turns.take('b');
    let taken = false;
    void second.then(() => (taken = true));
    await later();
    assert.equal(taken, false);
    first[Symbol.dispose]();
    (await second)[Symbol.dispose]();
    other[Symbol.dispose]();
    assert.equal(turns.has('a') || turns.has('b'), false);
  });
});

describe('starts', () => {
  test('wait while their container is held, and a hold waits for those begun', async () => {
    const starts = new Starts();
    const begun = await starts.begin('c');
    let held = false;
    const hold = starts.hold('c').then((place) => ((held = true), place));
    let late = false;
    const next = starts.begin('c').then((place) => ((late = true), place));
    (await starts.begin('other'))[Symbol.dispose]();
    await later();
    assert.deepEqual([held, late], [false, false]);
    begun[Symbol.dispose]();
    const place = await hold;
    await later();
    assert.deepEqual([held, late], [true, false]);
    place[Symbol.dispose]();
    (await next)[Symbol.dispose]();
  });
});
