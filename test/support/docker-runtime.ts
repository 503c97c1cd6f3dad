import { randomBytes } from 'node:crypto';
import Docker from 'dockerode';
import { findEngine } from '../../src/runtimes/docker/address.ts';
import { type DockerOptions, dockerRuntime } from '../../src/runtimes/docker/runtime.ts';
import { createLogger } from '../../src/log.ts';
import type { ContainerSpec, Runtime } from '../../src/sandbox/ports/runtime.ts';

export const MiB = 1024 ** 2;

/** Images that the set-up makes; others may be named to try the engine's side on them. */
export const testImage = process.env['BERTH_TEST_IMAGE'] ?? 'berth/base:latest';
export const hostImage = process.env['BERTH_TEST_HOST_IMAGE'] ?? 'berth/session-host:latest';

export const quiet = createLogger({ level: 'silent', format: 'json' });

/** An instance id that no other run shares. */
export function newInstance(): string {
  return `t${randomBytes(5).toString('hex')}`;
}

export function testRuntime(options: Partial<DockerOptions> = {}): Runtime {
  return dockerRuntime({
    instance: newInstance(),
    hostImage,
    orphanAfter: 600,
    env: process.env,
    log: quiet,
    ...options,
  });
}

/** The engine itself, for what the port cannot do. */
export function engine(): Docker {
  return new Docker({ socketPath: findEngine(process.env).socketPath });
}

export function specOf(name: string, more: Partial<ContainerSpec> = {}): ContainerSpec {
  return {
    name,
    image: testImage,
    labels: { 'berth.sandbox': name },
    env: {},
    volume: { name, labels: { 'berth.sandbox': name } },
    shell: '/bin/bash',
    limits: { memory: 256 * MiB, cpus: 1, pids: 128, tmp: 64 * MiB, shm: 16 * MiB, nofile: 1024 },
    mounts: [],
    network: 'none',
    ...more,
  };
}

/** Removes all that an instance made, fillers and foreign-looking leftovers included. */
export async function sweep(instance: string): Promise<void> {
  const docker = engine();
  const filters = { label: [`berth.instance=${instance}`] };
  for (const { Id } of await docker.listContainers({ all: true, filters }))
    await docker
      .getContainer(Id)
      .remove({ force: true, v: true })
      .catch(() => {});
  for (const { Name } of (await docker.listVolumes({ filters })).Volumes)
    await docker
      .getVolume(Name)
      .remove()
      .catch(() => {});
}
