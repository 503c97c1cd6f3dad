import Docker from 'dockerode';
import type { ServerProcess } from '../support/server-process.ts';
import { BenchClient } from './client.ts';

/** One chat's sandbox, awake. */
export interface Sandbox {
  readonly client: BenchClient;
  /** The id of its container on the engine. */
  readonly container: string;
  /** Of its files over HTTP: `…/sandboxes/<handle>/files`. */
  readonly url: string;
}

/** The sandbox of a new chat on a server that has no other. */
export async function openSandbox(server: ServerProcess, chat: string): Promise<Sandbox> {
  const client = await BenchClient.connect(server.url, chat);
  await client.run('true');
  const { sandbox } = await client.call('sandbox_status');
  const filters = { label: [`berth.instance=${await server.instance()}`], status: ['running'] };
  const [container] = await new Docker().listContainers({ filters });
  if (!container) throw new Error('bench: the sandbox has no container');
  return { client, container: container.Id, url: `${server.url}/sandboxes/${String(sandbox)}/files` };
}
