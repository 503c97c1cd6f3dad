import { globSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Container } from 'dockerode';
import { type FaultChat, Wrong } from './fault-chat.ts';
import { between, pick } from './plan.ts';
import type { World } from './world.ts';

/** Something bad that happens from outside of a chat. Resolves when it is over; what it broke may still be getting up. */
type Fate = (world: World, chat: FaultChat) => Promise<void>;

const liveRestore = '--live-restore';

const serverKilled: Fate = (world) =>
  world.strike('server', 'server killed', async () => {
    await world.server.kill('SIGKILL');
    await sleep(between(0, 1500));
    await world.server.start();
  });

const serverStopped: Fate = (world) =>
  world.strike('server', 'server stopped', async () => {
    const code = await world.server.kill('SIGTERM');
    if (code !== 0) throw new Wrong(`the server ended with ${code} at SIGTERM`);
    await world.server.start();
  });

const serverFrozen: Fate = (world) =>
  world.strike('all', 'server frozen', async () => {
    process.kill(world.server.pid, 'SIGSTOP');
    await sleep(between(500, 3000));
    process.kill(world.server.pid, 'SIGCONT');
  });

const engineKilled: Fate = (world) =>
  world.strike('all', 'engine killed', async () => {
    await world.engine.end('SIGKILL');
    await sleep(between(0, 3000));
    await world.engine.start(liveRestore);
  });

const engineStopped: Fate = (world) =>
  world.strike('all', 'engine stopped', async () => {
    await world.engine.end('SIGTERM');
    await world.engine.start(liveRestore);
  });

const engineFrozen: Fate = (world) =>
  world.strike('all', 'engine frozen', async () => {
    world.engine.signal('SIGSTOP');
    await sleep(between(1000, 8000));
    world.engine.signal('SIGCONT');
  });

const engineFull: Fate = (world) =>
  world.strike('all', 'engine full', async () => {
    world.engine.fill();
    await sleep(between(2000, 5000));
    world.engine.makeRoom();
  });

/** A fault of the chat's container, by whoever else may use the engine. */
const ofContainer =
  (name: string, run: (container: Container) => Promise<unknown>): Fate =>
  (world, chat) =>
    world.strike(chat.index, name, async () => {
      const filters = { label: [`berth.sandbox=${chat.sandbox}`] };
      const [found] = await world.engine.docker.listContainers({ filters });
      if (found) await run(world.engine.docker.getContainer(found.Id)).catch(() => {});
    });

const removed = ofContainer('container removed', (container) => container.remove({ force: true }));
const killed = ofContainer('container killed', (container) => container.kill());
const paused = ofContainer('container paused', async (container) => {
  await container.pause();
  await sleep(between(500, 6000));
  const resumed = container.unpause().then(() => true);
  if (await Promise.race([resumed, sleep(patience, false)])) return;
  thaw(container.id);
  await container.remove({ force: true });
});

/** Milliseconds for the engine to resume what it has paused. */
const patience = 10_000;

/**
 * An engine that pauses a container while it starts a program in it waits for that program for ever, and resumes nothing:
 * only the kernel can be asked then.
 */
function thaw(id: string): void {
  for (const path of globSync(`/sys/fs/cgroup/freezer/**/*${id}*/freezer.state`)) writeFileSync(path, 'THAWED');
  for (const path of globSync(`/sys/fs/cgroup/**/*${id}*/cgroup.freeze`)) writeFileSync(path, '0');
}

const general = { serverKilled, serverStopped, serverFrozen, engineKilled, engineStopped, engineFrozen, engineFull };
const particular = { removed, killed, paused };

/** Some fate: its name, and what it does. */
export function anyFate(): [string, Fate] {
  return pick(Object.entries(between(0, 1) ? general : particular));
}
