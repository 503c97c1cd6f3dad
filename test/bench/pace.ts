import { setTimeout as sleep } from 'node:timers/promises';
import { ServerProcess } from '../support/server-process.ts';
import { BenchClient } from './client.ts';
import { quantile, time, times } from './numbers.ts';
import type { Row } from './table.ts';

const sandboxes = 20;
const perSecond = 100;
const seconds = 20;

/**
 * Commands that come at fixed times, whether or not those before them have ended, as users do: each one's time counts
 * from the moment it was due, so that a server that falls behind shows it.
 */
export async function pace(): Promise<Row[]> {
  await using server = await ServerProcess.start();
  const clients = await Promise.all(
    Array.from({ length: sandboxes }, (_, i) => BenchClient.connect(server.url, `pace-${i}`)),
  );
  await Promise.all(clients.map((client) => times(20, () => client.run('true'))));
  const [first] = clients as [BenchClient];
  const alone = await times(500, () => first.run('echo hi'));
  const taken = await arrivals((i) => (clients[i % sandboxes] as BenchClient).run('echo hi'));
  const row = (share: number, name: string): Row => ({
    name: `${perSecond} commands/s over ${sandboxes} sandboxes, ${name}`,
    value: quantile(taken, share),
    unit: 'ms',
    baseline: { name: `one after another in one of them, ${name}`, value: quantile(alone, share) },
  });
  return [row(0.5, 'p50'), row(0.99, 'p99')];
}

/** Milliseconds of each call from when it was due. */
async function arrivals(call: (index: number) => Promise<unknown>): Promise<number[]> {
  const began = performance.now();
  const due = (index: number) => began + (index * 1000) / perSecond;
  const calls: Promise<number>[] = [];
  for (let index = 0; index < perSecond * seconds; index++) {
    const early = due(index) - performance.now();
    if (early > 0) await sleep(early);
    const late = performance.now() - due(index);
    calls.push(time(() => call(index)).then((taken) => taken + late));
  }
  return await Promise.all(calls);
}
