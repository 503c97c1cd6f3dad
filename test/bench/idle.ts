import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { residentMiB } from '../support/memory.ts';
import { ServerProcess } from '../support/server-process.ts';
import { BenchClient } from './client.ts';
import { quantile, times } from './numbers.ts';
import { RawContainer } from './raw.ts';
import type { Row } from './table.ts';

const runs = 15;
const known = 1000;
const awake = 100;
/** Sandboxes stop after a second without work, and the server looks every second. */
const brief = { BERTH_SESSION__TIMEOUT: '1', BERTH_SESSION__CLEANUP_INTERVAL: '1' };

/** What a wake costs from each idle step, and what many chats cost of which most are idle. */
export async function idle(): Promise<Row[]> {
  return [...(await wakes()), ...(await density())];
}

async function wakes(): Promise<Row[]> {
  const unit = 'ms';
  const [restart, start] = await rawWakes();
  const [stopped, removed] = [await wake({}), await wake({ BERTH_SESSION__REMOVE_AFTER: '0' })];
  return [
    {
      name: 'wake of a stopped sandbox',
      value: stopped,
      unit,
      baseline: { name: 'docker start + exec', value: restart },
    },
    {
      name: 'wake of a sandbox whose container was removed',
      value: removed,
      unit,
      baseline: { name: 'docker create + start + exec', value: start },
    },
  ];
}

async function wake(env: Record<string, string>): Promise<number> {
  await using server = await ServerProcess.start({ ...brief, ...env });
  const clients = await used(server, 0, runs);
  await untilIdle(server);
  return quantile(await times(runs, (i) => (clients[i] as BenchClient).run('true')), 0.5);
}

/** Milliseconds of a plain container that had been stopped, and of a new one. */
async function rawWakes(): Promise<[restart: number, start: number]> {
  const restarts: number[] = [];
  const starts: number[] = [];
  for (let i = 0; i < runs; i++) {
    const began = performance.now();
    await using raw = await RawContainer.start();
    await raw.exec(['true']);
    starts.push(performance.now() - began);
    await raw.container.stop({ t: 0 });
    const stopped = performance.now();
    await raw.container.start();
    await raw.exec(['true']);
    restarts.push(performance.now() - stopped);
  }
  return [quantile(restarts, 0.5), quantile(starts, 0.5)];
}

/** A thousand chats that have each run a command, a hundred of them with their container and with output to page through. */
async function density(): Promise<Row[]> {
  await using server = await ServerProcess.start({ ...brief, BERTH_SESSION__MAX_SESSIONS: String(awake) });
  const all = { known: await serverMiB(server), host: await hostMiB() };
  for (let from = 0; from < known; from += awake) {
    await used(server, from, awake);
    await untilIdle(server);
  }
  const asleep = { known: await serverMiB(server), host: await hostMiB() };
  await server.kill('SIGTERM');
  server.change({ BERTH_SESSION__TIMEOUT: '3600' });
  await server.start();
  const before = await hostMiB();
  const clients = await used(server, 0, awake);
  const each = ((await hostMiB()) - before) / awake;
  for (const client of clients) await client.run('seq 300000');
  return [
    {
      name: `the server with ${known} chats known and ${awake} awake, each with 2 MB of output`,
      value: await serverMiB(server),
      unit: 'MiB',
      goal: { most: 300 },
    },
    { name: `growth of the server by ${known} chats, all idle`, value: asleep.known - all.known, unit: 'MiB' },
    { name: 'memory of the host per stopped sandbox', value: (1024 * (asleep.host - all.host)) / known, unit: 'KiB' },
    {
      name: 'memory of the host per awake sandbox',
      value: each,
      unit: 'MiB',
      baseline: { name: 'a plain container', value: await rawMemory() },
    },
  ];
}

/** Chats that have each run a command. */
async function used(server: ServerProcess, from: number, count: number): Promise<BenchClient[]> {
  return await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const client = await BenchClient.connect(server.url, `idle-${from + i}`);
      await client.run('true');
      return client;
    }),
  );
}

async function untilIdle(server: ServerProcess): Promise<void> {
  const metrics = async () => (await fetch(`${server.url}/metrics`)).text();
  while (!/^berth_sandboxes\{state="running"\} 0$/m.test(await metrics())) await sleep(200);
}

async function serverMiB({ pid }: ServerProcess): Promise<number> {
  await sleep(2000);
  return residentMiB(pid);
}

/** What the host's kernel could not give to others. */
async function hostMiB(): Promise<number> {
  await sleep(3000);
  const kB = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]);
  return (kB('MemTotal') - kB('MemAvailable')) / 1024;
}

/** Mebibytes of the host for a plain container. */
async function rawMemory(): Promise<number> {
  const count = 20;
  const before = await hostMiB();
  await using containers = new AsyncDisposableStack();
  for (let i = 0; i < count; i++) containers.use(await RawContainer.start());
  return ((await hostMiB()) - before) / count;
}
