import { askServer } from '../api/admin/client.ts';
import type { Overseen } from '../sandbox/lifecycle/overseer.ts';
import { UsageError } from './args.mjs';
import { type Invocation, settings } from './invocation.ts';
import { columns } from './table.ts';

/** `berth ps`: everybody's sandboxes on the running server, and what they use. */
export async function ps(invocation: Invocation): Promise<number> {
  const { flags, rest, out, err } = invocation;
  if (rest.length > 0) throw new UsageError('berth ps takes flags only.');
  const { sandboxes } = (await ask(invocation, 'GET', '/sandboxes')) as { sandboxes: readonly Overseen[] };
  if (flags['json']) out.write(`${JSON.stringify(sandboxes, null, 2)}\n`);
  else if (sandboxes.length === 0) err.write('There is no sandbox.\n');
  else out.write(`${columns(head, sandboxes.map(cells))}\n`);
  return 0;
}

/** `berth stop HANDLE`: ends its container; the next call starts it again. */
export const stop = (invocation: Invocation): Promise<number> => act(invocation, 'stop', 'stopped');

/** `berth end HANDLE`: removes the sandbox with its workspace. */
export const end = (invocation: Invocation): Promise<number> => act(invocation, 'end', 'ended');

async function act(invocation: Invocation, action: 'stop' | 'end', done: string): Promise<number> {
  const { flags, rest, out } = invocation;
  const [handle, ...surplus] = rest;
  if (!handle || surplus.length > 0)
    throw new UsageError(`berth ${action} takes one sandbox: berth ${action} HANDLE, as berth ps shows it.`);
  const answer = await ask(invocation, 'POST', `/sandboxes/${encodeURIComponent(handle)}/${action}`);
  out.write(flags['json'] ? `${JSON.stringify(answer)}\n` : `${done} ${handle}\n`);
  return 0;
}

function ask(invocation: Invocation, method: 'GET' | 'POST', path: string): Promise<unknown> {
  return askServer(settings(invocation).config.server.state_dir, method, path);
}

const head = ['sandbox', 'principal', 'template', 'state', 'since', 'memory', 'cpu', 'disk', 'command'];
const longestCommand = 60;

function cells(one: Overseen): string[] {
  const { sandbox, name, template, state, since, memory, cpu_seconds: cpu, disk, command } = one;
  const used = [mebibytes(memory), cpu === null ? '–' : `${cpu.toFixed(1)} s`, mebibytes(disk)];
  const time = `${since.slice(0, 16)}Z`;
  return [sandbox, name, template, state, time, ...used, (command ?? '–').slice(0, longestCommand)].map(oneLine);
}

const mebibytes = (bytes: number | null): string => (bytes === null ? '–' : `${Math.ceil(bytes / 1024 ** 2)} MiB`);

/** Whatever a user has chosen as a name or a command, it moves no cursor. */
const oneLine = (text: string): string => text.replace(/\p{Cc}+/gu, ' ');
