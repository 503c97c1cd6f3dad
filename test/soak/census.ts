import { readdirSync } from 'node:fs';
import Docker from 'dockerode';
import { residentMiB } from '../support/memory.ts';
import type { ServerProcess } from '../support/server-process.ts';

/** What there is at one moment. */
export interface Census {
  readonly descriptors: number;
  readonly residentMiB: number;
  readonly containers: number;
  /** In all of its containers. */
  readonly processes: number;
  readonly zombies: number;
}

export async function census(server: ServerProcess, docker = new Docker()): Promise<Census> {
  const filters = { label: [`berth.instance=${await server.instance()}`] };
  const containers = await docker.listContainers({ filters });
  const states = await Promise.all(containers.map(({ Id }) => processStates(docker, Id)));
  const all = states.flat();
  return {
    descriptors: readdirSync(`/proc/${server.pid}/fd`).length,
    residentMiB: Math.round(residentMiB(server.pid)),
    containers: containers.length,
    processes: all.length,
    zombies: all.filter((state) => state.startsWith('Z')).length,
  };
}

async function processStates(docker: Docker, id: string): Promise<string[]> {
  const asked = docker.getContainer(id).top({ ps_args: '-eo pid,stat' }) as Promise<{ Processes: string[][] | null }>;
  const top = await asked.catch((error: { statusCode?: number }) => {
    // It has gone since it was listed.
    if (error.statusCode === 404 || error.statusCode === 409) return { Processes: null };
    throw error;
  });
  // The engine answers null when ps finds none of the processes that it was asked for.
  return (top.Processes ?? []).map(([, state]) => state ?? '');
}
