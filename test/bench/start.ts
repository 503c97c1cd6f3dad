import { setTimeout as sleep } from 'node:timers/promises';
import { ServerProcess } from '../support/server-process.ts';
import { BenchClient } from './client.ts';
import { quantile, time, times } from './numbers.ts';
import { RawContainer } from './raw.ts';
import type { Row } from './table.ts';

const unit = 'ms';
const runs = 15;
const crowd = 100;
/** The server's default for containers started at the same time. */
const startsAtOnce = 8;

/** The first command of a chat, cold and from the warm pool, and a storm of first commands. */
export async function start(): Promise<Row[]> {
  const single = await rawStarts(runs, 1);
  const baseline = { name: 'docker create + start + exec', value: quantile(single, 0.5) };
  return [
    { name: 'first command of a chat, cold', value: await cold(), unit, baseline, goal: { most: 1.15 } },
    { name: 'first command of a chat, warm', value: await warm(), unit, baseline, goal: { most: 0.1 } },
    ...(await storm()),
  ];
}

async function cold(): Promise<number> {
  await using server = await ServerProcess.start();
  await (await BenchClient.connect(server.url, 'first')).run('true');
  const clients = await chats(server, runs, 'cold');
  return quantile(await times(runs, (i) => (clients[i] as BenchClient).run('true')), 0.5);
}

async function warm(): Promise<number> {
  await using server = await ServerProcess.start({ BERTH_TEMPLATES__DATA__WARM: String(runs) });
  const clients = await chats(server, runs, 'warm');
  // Long enough for the pool to fill; a chat that finds it empty starts cold and shows in the median.
  await sleep(runs * 700);
  return quantile(await times(runs, (i) => (clients[i] as BenchClient).run('true')), 0.5);
}

async function storm(): Promise<Row[]> {
  const ideal = quantile(await rawStarts(crowd, startsAtOnce), 0.95);
  await using server = await ServerProcess.start({ BERTH_SESSION__MAX_SESSIONS: String(2 * crowd) });
  await (await BenchClient.connect(server.url, 'first')).run('true');
  const clients = await chats(server, crowd, 'storm');
  const taken = await Promise.all(clients.map((client) => time(() => client.run('true'))));
  const baseline = { name: `docker create + start + exec, ${startsAtOnce} at a time`, value: ideal };
  return [
    { name: `${crowd} first calls at once, p95`, value: quantile(taken, 0.95), unit, baseline, goal: { most: 1.3 } },
    { name: `${crowd} first calls at once, p50`, value: quantile(taken, 0.5), unit },
  ];
}

async function chats(server: ServerProcess, count: number, name: string): Promise<BenchClient[]> {
  return await Promise.all(Array.from({ length: count }, (_, i) => BenchClient.connect(server.url, `${name}-${i}`)));
}

/** Milliseconds from the beginning of all to the first answer of each of `count` plain containers, `width` at a time. */
async function rawStarts(count: number, width: number): Promise<number[]> {
  const began = performance.now();
  const taken: number[] = [];
  const containers = new AsyncDisposableStack();
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next++ < count) {
      const from = width === 1 ? performance.now() : began;
      const container = containers.use(await RawContainer.start());
      await container.exec(['true']);
      taken.push(performance.now() - from);
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  await containers.disposeAsync();
  return taken;
}
