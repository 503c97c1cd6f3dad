import assert from 'node:assert/strict';
import type { BenchClient } from '../bench/client.ts';

/** What a chat's user knows of his sandbox. */
export interface Chat {
  readonly index: number;
  readonly random: () => number;
  /** The value of the shell variable `n`, which must survive everything but a lost shell. */
  counter: number;
}

type Action = (client: BenchClient, chat: Chat) => Promise<void>;

/** Things a user does; each checks what comes back. They throw an AssertionError for a wrong answer alone. */
export const actions: readonly Action[] = [count, count, count, flood, fail, dies, background, file, terminal, slow];

async function output(client: BenchClient, command: string, args: Record<string, unknown> = {}) {
  return await client.call('execute_command', { command, ...args });
}

async function count(client: BenchClient, chat: Chat): Promise<void> {
  const result = await output(client, `echo ${chat.index}-$((n = ${chat.counter} + 1))`);
  assert.equal(result['stdout'], `${chat.index}-${chat.counter + 1}\n`);
  chat.counter += 1;
}

async function flood(client: BenchClient, { random }: Chat): Promise<void> {
  const bytes = Math.floor(random() * 5_000_000);
  const result = await output(client, `head -c ${bytes} /dev/urandom`);
  assert.deepEqual([result['exit_code'], result['stdout_size']], [0, bytes]);
}

async function fail(client: BenchClient, { random }: Chat): Promise<void> {
  const code = 1 + Math.floor(random() * 250);
  assert.equal((await output(client, `(exit ${code})`))['exit_code'], code);
}

async function dies(client: BenchClient): Promise<void> {
  const result = await output(client, 'kill -9 $$');
  assert.equal(result['exit_code'], 137);
}

async function background(client: BenchClient): Promise<void> {
  const result = await output(client, 'sleep 0.5 & echo begun');
  assert.equal(result['stdout'], 'begun\n');
}

async function file(client: BenchClient, { random }: Chat): Promise<void> {
  const content = `${random()}\n`.repeat(100);
  await client.call('upload_file', { path: 'soak.txt', content });
  assert.equal((await client.call('download_file', { path: 'soak.txt' }))['content'], content);
}

async function terminal(client: BenchClient): Promise<void> {
  const { sessionId } = await client.call('start_shell_session', {});
  await client.call('send_shell_input', { sessionId, input: 'echo $((6 * 7))' });
  const { output: screen } = await client.call('read_shell_output', { sessionId, until: '42', wait: 10 });
  assert.match(String(screen), /42/);
  await client.call('end_shell_session', { sessionId });
}

async function slow(client: BenchClient): Promise<void> {
  const result = await output(client, 'sleep 5', { timeout: 0.5 });
  assert.equal(result['status'], 'timeout');
}
