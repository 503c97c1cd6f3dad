import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { noOwnEngine } from '../support/own-engine.ts';
import { census, type Census } from './census.ts';
import { allIsWell, anyDeed } from './deeds.ts';
import { anyFate } from './fates.ts';
import { FaultChat, Wrong } from './fault-chat.ts';
import { between, minutes, pick, seed } from './plan.ts';
import { World } from './world.ts';

const chatCount = 8;
/** Seconds between two counts. */
const countEvery = 30;
/** Seconds after the last fault in which everything has to work again. */
const recovery = 60;

if (noOwnEngine) {
  console.error(`soak: ${noOwnEngine}`);
  process.exit(2);
}

await using world = await World.create();
const chats: FaultChat[] = [];
for (let index = 0; index < chatCount; index += 1) chats.push(new FaultChat(index, world, () => chats));
let end = performance.now() + minutes * 60_000;
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => (end = 0));
const wrongs: string[] = [];
const fates = new Map<string, number>();
const counts: Census[] = [];

console.log(`soak: faults for ${minutes} minutes, ${chatCount} chats, seed ${seed}`);
for (const chat of chats) await settle(chat);
await Promise.all([...chats.map(live), fate(), counter()]);
const slowest = Math.max(...(await Promise.all(chats.map(recovered))));
await sleep(10_000);
counts.push(await census(world.server, world.engine.docker));
await report();

function going(): boolean {
  return performance.now() < end;
}

function note(error: unknown): void {
  const text = error instanceof Wrong ? error.message : String((error as Error).stack ?? error);
  wrongs.push(text);
  console.log(`wrong: ${text}\n  ${world.story}`);
  if (wrongs.length >= 20) end = 0;
}

async function settle(chat: FaultChat): Promise<void> {
  const outcome = await chat.call('execute_command', { command: `echo ${chat.secret} >secret` });
  assert.equal(outcome.kind, 'answered', JSON.stringify(outcome));
  const status = await chat.call('sandbox_status');
  chat.sandbox = status.kind === 'answered' ? String(status.fields['sandbox']) : '';
  assert.match(chat.sandbox, /^sb_/);
}

async function live(chat: FaultChat): Promise<void> {
  while (going()) {
    await anyDeed()(chat).catch(note);
    await sleep(between(50, 400));
  }
}

async function fate(): Promise<void> {
  while (going()) {
    await sleep(between(3000, 12_000));
    const [name, run] = anyFate();
    fates.set(name, (fates.get(name) ?? 0) + 1);
    await run(world, pick(chats)).catch(note);
  }
}

async function counter(): Promise<void> {
  while (going()) {
    await sleep(countEvery * 1000);
    const since = performance.now();
    await census(world.server, world.engine.docker).then(
      (count) => counts.push(count),
      (error: unknown) => world.disturbed(-1, since) || note(error),
    );
  }
}

/** The milliseconds until everything works for the chat. */
async function recovered(chat: FaultChat): Promise<number> {
  const since = performance.now();
  for (;;) {
    const well = await allIsWell(chat).catch(note);
    const took = performance.now() - since;
    if (well) return took;
    if (took > recovery * 1000) note(new Wrong(`chat ${chat.index} did not recover`));
    if (took > recovery * 1000) return took;
    await sleep(200);
  }
}

async function report(): Promise<void> {
  const tally = new Map<string, number>();
  for (const chat of chats) for (const [key, count] of chat.tally) tally.set(key, (tally.get(key) ?? 0) + count);
  console.log('calls', Object.fromEntries(tally), 'faults', Object.fromEntries(fates));
  console.log(`everything worked ${Math.round(slowest)} ms after the last fault`);
  console.table(counts);
  console.log('complaints', world.server.complaints);
  console.log('left', await left());
  const last = counts.at(-1);
  assert.ok(last);
  assert.deepEqual(wrongs, [], 'no wrong answer');
  assert.deepEqual(world.server.complaints, [], 'no error of the server’s own');
  assert.deepEqual(await left(), {
    known: chatCount,
    running: chatCount,
    containers: chatCount,
    volumes: chatCount,
    images: chatCount,
    devices: chatCount,
  });
  assert.equal(last.zombies, 0, 'no zombie');
  const half = counts.length / 2;
  const most = (some: readonly Census[]) => Math.max(...some.map((count) => count.descriptors));
  assert.ok(most(counts.slice(half)) <= most(counts.slice(0, half)) + 15, 'flat descriptors');
  // A server that is being killed at that moment has no memory to tell of.
  const resident = counts.map((count) => count.residentMiB).filter((size) => size > 0);
  assert.ok(resident.length > half && Math.max(...resident) < 512, 'bounded memory');
}

/** What is there of sandboxes: known to the server, on the engine, and on the host. */
async function left() {
  const { server, engine } = world;
  const { sandboxes } = (await (await fetch(`${server.url}/health`)).json()) as {
    sandboxes: { known: number; running: number };
  };
  const images = join(server.stateDirectory, 'workspaces');
  const volumes = (await engine.docker.listVolumes()).Volumes;
  return {
    known: sandboxes.known,
    running: sandboxes.running,
    containers: (await engine.docker.listContainers({ all: true })).length,
    volumes: volumes.filter(({ Name }) => Name.includes('-sb_')).length,
    images: readdirSync(images).length,
    devices: execFileSync('losetup', ['--list', '--noheadings', '--output', 'BACK-FILE'], { encoding: 'utf8' })
      .split('\n')
      .filter((path) => path.startsWith(images)).length,
  };
}
