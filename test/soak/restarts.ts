import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { BenchClient } from '../bench/client.ts';
import { ServerProcess } from '../support/server-process.ts';
import { actions, type Chat } from './actions.ts';
import { census, type Census } from './census.ts';
import { minutes, random, seed } from './plan.ts';

const chats = 20;
/** Seconds between two kills of the server, and between two counts. */
const killEvery = 120;
const countEvery = 30;

await using server = await ServerProcess.start({ BERTH_SESSION__MAX_SESSIONS: String(2 * chats) });
const end = performance.now() + minutes * 60_000;
let paused: Promise<void> = Promise.resolve();
let calls = 0;
let kills = 0;
const counts: Census[] = [];

console.log(`soak: ${minutes} minutes, ${chats} chats, seed ${seed}`);
await Promise.all([...Array.from({ length: chats }, (_, i) => chat(i)), killer(), counter()]);
await sleep(2000);
counts.push(await census(server));
report();
process.exit(0);

/** One chat's user: random actions, each checked, through every restart of the server. */
async function chat(index: number): Promise<void> {
  const state: Chat = { index, random, counter: 0 };
  let client = await connected(index);
  while (performance.now() < end) {
    await paused;
    const action = actions[Math.floor(random() * actions.length)];
    try {
      await action?.(client, state);
      calls += 1;
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      await paused;
      client = await connected(index);
      await closeTerminals(client);
    }
  }
}

/** Those that a kill of the server kept the chat from closing. */
async function closeTerminals(client: BenchClient): Promise<void> {
  const { sessions } = await client.call('list_shell_sessions');
  for (const { sessionId } of sessions as { sessionId: string }[])
    await client.call('end_shell_session', { sessionId });
}

async function connected(index: number): Promise<BenchClient> {
  for (let tries = 0; ; tries++) {
    try {
      return await BenchClient.connect(server.url, `soak-${index}`);
    } catch (error) {
      if (tries > 50) throw error;
      await sleep(200);
    }
  }
}

async function killer(): Promise<void> {
  while (performance.now() + killEvery * 1000 < end) {
    await sleep(killEvery * 1000);
    const { promise, resolve } = Promise.withResolvers<void>();
    paused = promise;
    await server.kill('SIGKILL');
    await server.start();
    kills += 1;
    resolve();
  }
}

async function counter(): Promise<void> {
  while (performance.now() < end) {
    await sleep(countEvery * 1000);
    await paused;
    counts.push(await census(server));
  }
}

function report(): void {
  const last = counts.at(-1);
  assert.ok(last);
  console.log(`${calls} calls, ${kills} kills`);
  console.table(counts);
  assert.equal(last.containers, chats, 'sandboxes = containers');
  assert.equal(last.zombies, 0, 'no zombie');
  const settled = counts.slice(Math.ceil(counts.length / 4));
  assert.ok(Math.max(...settled.map((count) => count.residentMiB)) < 512, 'bounded memory');
  const [early, late] = [settled.slice(0, settled.length / 2), settled.slice(settled.length / 2)];
  for (const what of ['processes', 'descriptors'] as const) {
    const most = (some: readonly Census[]) => Math.max(...some.map((count) => count[what]));
    assert.ok(most(late) <= most(early) + 10, `flat ${what}`);
  }
}
