import { ServerProcess } from '../support/server-process.ts';
import { BenchClient } from './client.ts';
import { residentMiB } from '../support/memory.ts';
import { quantile, time, times } from './numbers.ts';
import { RawContainer } from './raw.ts';
import type { Row } from './table.ts';

const MB = 1_000_000;

/** Round trips, throughput and memory of commands. */
export async function shell(): Promise<Row[]> {
  await using server = await ServerProcess.start({ BERTH_SESSION__MAX_SESSIONS: '200' });
  await using raw = await RawContainer.start();
  return [...(await roundTrips(server, raw)), ...(await throughput(server, raw)), ...(await crowd(server))];
}

async function roundTrips(server: ServerProcess, raw: RawContainer): Promise<Row[]> {
  const client = await BenchClient.connect(server.url, 'round-trips');
  await client.run('true');
  await times(200, () => client.call('get_working_directory'));
  const noop = quantile(await times(500, () => client.call('get_working_directory')), 0.5);
  const nothing = quantile(await times(500, () => client.run('true')), 0.5);
  const echo = quantile(await times(500, () => client.run('echo hi')), 0.5);
  const exec = quantile(await times(30, () => raw.exec(['true'])), 0.5);
  const line = await raw.bash();
  const bare = quantile(await times(500, () => line('true')), 0.5);
  const unit = 'ms';
  return [
    {
      name: '`true` through MCP',
      value: nothing,
      unit,
      baseline: { name: 'a tool that does nothing', value: noop },
      goal: { most: 1.5 },
    },
    {
      name: '`echo` through MCP',
      value: echo,
      unit,
      baseline: { name: 'a tool that does nothing', value: noop },
      goal: { most: 1.5 },
    },
    {
      name: '`echo` through MCP',
      value: echo,
      unit,
      baseline: { name: 'an exec per command, without MCP', value: exec },
      goal: { most: 0.05 },
    },
    {
      name: '`true` through MCP',
      value: nothing,
      unit,
      baseline: { name: 'bash on a bare exec stream, without MCP', value: bare },
    },
  ];
}

async function throughput(server: ServerProcess, raw: RawContainer): Promise<Row[]> {
  const client = await BenchClient.connect(server.url, 'throughput');
  await client.run('true');
  const flood = 'head -c 100000000 /dev/zero';
  await raw.exec(['sh', '-c', flood]);
  const rawTime = quantile(await times(5, () => raw.exec(['sh', '-c', flood])), 0.5);
  await client.run(flood);
  const ours = quantile(await times(5, () => client.run(flood)), 0.5);
  const before = residentMiB(server.pid);
  const gigabyte = await time(() => client.run('head -c 1000000000 /dev/zero'));
  const growth = residentMiB(server.pid) - before;
  return [
    {
      name: '100 MB of output',
      value: (100 * MB) / ours / 1000,
      unit: 'MB/s',
      baseline: { name: 'a raw multiplexed exec', value: (100 * MB) / rawTime / 1000 },
      goal: { least: 0.6 },
    },
    { name: '1 GB of output', value: (1000 * MB) / gigabyte / 1000, unit: 'MB/s' },
    { name: 'growth of the server after 1 GB of output', value: Math.max(0, growth), unit: 'MiB', goal: { most: 64 } },
  ];
}

/** Fifty sandboxes: a command in each at once, and what each costs the server while idle. */
async function crowd(server: ServerProcess): Promise<Row[]> {
  const count = 50;
  const clients = await Promise.all(
    Array.from({ length: count }, (_, i) => BenchClient.connect(server.url, `crowd-${i}`)),
  );
  const before = residentMiB(server.pid);
  for (const client of clients) await client.run('true');
  const each = ((residentMiB(server.pid) - before) * 1024) / count;
  await Promise.all(clients.map((client) => client.run('echo hi')));
  const rounds = await times(20, () => Promise.all(clients.map((client) => client.run('echo hi'))));
  const latencies = (await Promise.all(clients.map((client) => time(() => client.run('echo hi'))))).toSorted(
    (a, b) => a - b,
  );
  return [
    {
      name: `\`echo\` in ${count} sandboxes at once, p99`,
      value: quantile(latencies, 0.99),
      unit: 'ms',
      goal: { most: 100 },
    },
    { name: `commands per second over ${count} sandboxes`, value: (count * 1000) / quantile(rounds, 0.5), unit: '/s' },
    { name: 'memory of the server per idle sandbox', value: each, unit: 'KiB', goal: { most: 200 } },
  ];
}
