import type Docker from 'dockerode';
import type { Logger } from '../../log.ts';
import type { Engine } from './client.ts';
import { removeContainer } from './containers.ts';
import { statusOf } from './errors.ts';
import { labels } from './spec.ts';

export interface ReapOptions {
  readonly instance: string;
  /** Names of this instance's containers that are in use or being made. */
  readonly inUse: (name: string) => boolean;
  /** Seconds, by the engine's clock, that a leftover must be old. */
  readonly age: number;
  readonly log: Logger;
}

/**
 * Removes the containers that nobody will use again, and returns their names. An instance that died leaves sandboxes
 * whose session hosts end by themselves; any living instance on the same engine clears them away. A workspace is never
 * touched, nor a running container, nor one without Berth's label.
 */
export async function reap(engine: Engine, options: ReapOptions, signal?: AbortSignal): Promise<readonly string[]> {
  const reaped: string[] = [];
  const candidates = await endedContainers(engine, signal);
  if (candidates.length === 0) return reaped;
  const now = await engineTime(engine, signal);
  for (const { Id, Names, Labels } of candidates) {
    const name = (Names[0] ?? Id).replace(/^\//, '');
    const ours = Labels[labels.instance] === options.instance;
    const since = await uselessSince(engine, Id, ours && !(labels.filler in Labels), signal);
    if (since === undefined || now - since < options.age * 1000 || (ours && options.inUse(name))) continue;
    await removeContainer(engine, Id);
    options.log.info({ event: 'container.reaped', container: name, instance: Labels[labels.instance] });
    reaped.push(name);
  }
  return reaped;
}

function endedContainers(engine: Engine, signal?: AbortSignal): Promise<Docker.ContainerInfo[]> {
  const filters = { label: [labels.instance], status: ['created', 'exited', 'dead'] };
  return engine.call(
    { doing: 'list sandboxes' },
    (abortSignal) => engine.docker.listContainers({ all: true, filters, abortSignal }),
    signal,
  );
}

/**
 * Since when, in milliseconds since the epoch, the container is of no use; `undefined` while it is. An ended container
 * of this very instance is the pool's to judge.
 */
async function uselessSince(
  engine: Engine,
  id: string,
  ours: boolean,
  signal?: AbortSignal,
): Promise<number | undefined> {
  const found = await inspect(engine, id, signal);
  if (!found || found.State.Running || found.State.Paused || found.State.Restarting) return undefined;
  if (found.State.Status === 'created') return Date.parse(found.Created);
  return ours ? undefined : Date.parse(found.State.FinishedAt);
}

async function inspect(engine: Engine, id: string, signal?: AbortSignal) {
  try {
    const container = engine.docker.getContainer(id);
    return await engine.call(
      { doing: 'look at a sandbox' },
      (abortSignal) => container.inspect({ abortSignal }),
      signal,
    );
  } catch (error) {
    if (statusOf(error) === 404) return undefined;
    throw error;
  }
}

/** The engine's clock may be another machine's; ages are told by it alone. */
async function engineTime(engine: Engine, signal?: AbortSignal): Promise<number> {
  const describe = engine.docker.info.bind(engine.docker) as (options: object) => Promise<{ SystemTime: string }>;
  const info = await engine.call({ doing: 'tell the time' }, (abortSignal) => describe({ abortSignal }), signal);
  return Date.parse(info.SystemTime);
}
