import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { State } from '../../src/state/state.ts';
import { ServerProcess } from '../support/server-process.ts';
import { BenchClient } from './client.ts';
import { residentMiB } from '../support/memory.ts';
import { quantile, times } from './numbers.ts';
import type { Row } from './table.ts';

const counts = [10, 100, 1000];
/** Of the known ones, the caller's. */
const own = 10;

/** What sandboxes cost that the server knows and nobody uses. */
export async function known(): Promise<Row[]> {
  const figures = new Map<number, Figures>();
  for (const count of counts) figures.set(count, await measure(count));
  const [few, ...more] = counts as [number, ...number[]];
  return more.flatMap((count) => rows(figures.get(count)!, count, figures.get(few)!, few));
}

interface Figures {
  /** MiB, of the server. */
  readonly memory: number;
  /** Milliseconds. */
  readonly command: number;
  readonly list: number;
}

function rows(at: Figures, count: number, base: Figures, few: number): Row[] {
  const row = (name: string, unit: string, figure: keyof Figures): Row => ({
    name: `${name} with ${count.toLocaleString('en')} known sandboxes`,
    value: at[figure],
    unit,
    baseline: { name: `with ${few}`, value: base[figure] },
    goal: { most: 1.2 },
  });
  return [
    row('memory of the server', 'MiB', 'memory'),
    row('a command', 'ms', 'command'),
    row(`\`list_sandboxes\` of a caller who has ${own}`, 'ms', 'list'),
  ];
}

async function measure(count: number): Promise<Figures> {
  await using server = await ServerProcess.start();
  await server.kill('SIGTERM');
  fill(server.stateDirectory, count);
  await server.start();
  const client = await BenchClient.connect(server.url, 'known');
  await client.run('true');
  await times(200, () => client.run('true'));
  const command = quantile(await times(500, () => client.run('true')), 0.5);
  await times(50, () => client.call('list_sandboxes'));
  const list = quantile(await times(200, () => client.call('list_sandboxes')), 0.5);
  await sleep(3000);
  return { memory: residentMiB(server.pid), command, list };
}

/** Writes rows of sandboxes of which only the workspace is left, as after a day without use. */
function fill(directory: string, count: number): void {
  using state = new State(directory);
  const now = Date.now();
  for (let i = 0; i < count; i++) {
    const handle = `sb_${randomBytes(12).toString('hex')}`;
    state.insert({
      handle,
      principal: i < own ? 'anonymous' : `user:${i}`,
      scopeKind: 'conversation',
      scopeId: `chat-${i}`,
      template: 'data',
      volume: `berth-${state.instance}-${handle}-000000`,
      state: 'idle',
      created: now - 86_400_000,
      lastUsed: now - 86_400_000,
      expires: null,
      lost: [],
    });
  }
}
