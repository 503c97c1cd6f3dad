import { ServerProcess } from '../support/server-process.ts';
import { BenchClient } from './client.ts';
import { quantile, time, times } from './numbers.ts';
import { RawContainer } from './raw.ts';
import type { Row } from './table.ts';

/** The first command of a chat, and a storm of them. */
export async function start(): Promise<Row[]> {
  await using server = await ServerProcess.start({ BERTH_SESSION__MAX_SESSIONS: '300' });
  const warmUp = await BenchClient.connect(server.url, 'warm-up');
  await warmUp.run('true');
  const raw = quantile(await times(15, rawStart), 0.5);
  const clients = await Promise.all(Array.from({ length: 15 }, (_, i) => BenchClient.connect(server.url, `cold-${i}`)));
  const cold = quantile(await times(15, (i) => (clients[i] as BenchClient).run('true')), 0.5);
  return [
    {
      name: 'first command of a chat, cold',
      value: cold,
      unit: 'ms',
      baseline: { name: 'docker create + start + exec', value: raw },
      goal: { most: 1.15 },
    },
    ...(await storm(server, raw)),
  ];
}

async function rawStart(): Promise<void> {
  await using container = await RawContainer.start();
  await container.exec(['true']);
}

async function storm(server: ServerProcess, single: number): Promise<Row[]> {
  const clients = await Promise.all(
    Array.from({ length: 100 }, (_, i) => BenchClient.connect(server.url, `storm-${i}`)),
  );
  const taken = await Promise.all(clients.map((client) => time(() => client.run('true'))));
  return [
    {
      name: '100 first calls at once, p95',
      value: quantile(taken, 0.95),
      unit: 'ms',
      baseline: { name: 'one docker create + start + exec', value: single },
    },
    { name: '100 first calls at once, p50', value: quantile(taken, 0.5), unit: 'ms' },
  ];
}
