import { ServerProcess } from '../support/server-process.ts';
import { BenchClient } from './client.ts';
import { time } from './numbers.ts';
import type { Row } from './table.ts';

const count = 100;

/** A server that is killed and started again while its sandboxes run. */
export async function restart(): Promise<Row[]> {
  await using server = await ServerProcess.start({ BERTH_SESSION__MAX_SESSIONS: String(2 * count) });
  const empty = await again(server);
  const chats = Array.from({ length: count }, (_, i) => `restart-${i}`);
  await used(server, chats);
  const full = await again(server);
  const adopted = full + (await time(() => used(server, chats)));
  const unit = 'ms';
  return [
    { name: 'a server is ready, with nothing to adopt', value: empty, unit },
    { name: `a server is ready, with ${count} sandboxes to adopt`, value: full, unit, goal: { most: 1000 } },
    { name: '… and each of them has run a command', value: adopted, unit },
  ];
}

/** Milliseconds from the start of the process until `/ready` says so; it was killed before. */
async function again(server: ServerProcess): Promise<number> {
  await server.kill('SIGKILL');
  return await time(async () => {
    await server.start();
    while (!(await fetch(`${server.url}/ready`)).ok);
  });
}

/** A command in each chat's sandbox, all at once. */
async function used(server: ServerProcess, chats: readonly string[]): Promise<void> {
  await Promise.all(chats.map(async (chat) => (await BenchClient.connect(server.url, chat)).run('true')));
}
