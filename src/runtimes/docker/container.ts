import type Docker from 'dockerode';
import type { Container, ContainerState, ExecOptions, Process, Usage } from '../../sandbox/ports/runtime.ts';
import { AppError } from '../../errors.ts';
import { abortable, type Engine } from './client.ts';
import { removeContainer } from './containers.ts';
import { statusOf } from './errors.ts';
import type { Processes } from './processes.ts';
import { usageOf } from './usage.ts';

type Identity = Pick<Container, 'id' | 'name' | 'emptied'>;

/** A sandbox's container on the engine. Holds nothing but its id and name, and how its workspace began. */
export class EngineContainer implements Container {
  readonly id: string;
  readonly name: string;
  readonly emptied: boolean;
  readonly #engine: Engine;
  readonly #processes: Processes;

  constructor(engine: Engine, processes: Processes, { id, name, emptied = false }: Identity) {
    this.#engine = engine;
    this.#processes = processes;
    this.id = id;
    this.name = name;
    this.emptied = emptied;
  }

  exec(argv: readonly string[], options?: ExecOptions): Promise<Process> {
    return this.#processes.start(this.id, argv, options);
  }

  /** Asks twice: an engine that failed to collect the figures has them at its next attempt, a second later. */
  async usage(signal?: AbortSignal): Promise<Usage> {
    for (let attempts = 1; ; attempts++) {
      const usage = usageOf(await this.#stats(signal));
      if (usage) return usage;
      const { running } = await this.state(signal);
      if (!running) throw new AppError('sandbox_lost', 'The sandbox has stopped.');
      if (attempts === 2)
        throw new AppError('engine_unavailable', 'The container engine has no figures of the sandbox.');
    }
  }

  async state(signal?: AbortSignal): Promise<ContainerState> {
    const { State } = await this.#call(
      'look at a sandbox',
      (abortSignal) => this.#api.inspect({ abortSignal }),
      signal,
    );
    const { Running, Paused, ExitCode, OOMKilled } = State;
    return { running: Running, paused: Paused, exitCode: Running ? null : ExitCode, oomKilled: OOMKilled };
  }

  pause(): Promise<void> {
    return this.#unless(/already paused/, () =>
      this.#processes.still(this.id, () =>
        this.#call('pause a sandbox', (abortSignal) => this.#api.pause({ abortSignal })),
      ),
    );
  }

  resume(): Promise<void> {
    return this.#unless(/not paused/, () =>
      this.#call('resume a sandbox', (abortSignal) => this.#api.unpause({ abortSignal })),
    );
  }

  async stop(): Promise<void> {
    this.#processes.drop(this.id);
    await this.#call('stop a sandbox', (abortSignal) => this.#api.stop(abortable({ t: 0 }, abortSignal))).catch(
      unlessStopped,
    );
  }

  async remove(): Promise<void> {
    // A stalled stream can hold the container's lock, so no connection outlives the wish to remove.
    this.#processes.drop(this.id);
    await removeContainer(this.#engine, this.id);
  }

  #stats(signal?: AbortSignal): Promise<Docker.ContainerStats> {
    const asked = { stream: false, 'one-shot': true } as const;
    return this.#call('measure a sandbox', (abortSignal) => this.#api.stats(abortable(asked, abortSignal)), signal);
  }

  get #api() {
    return this.#engine.docker.getContainer(this.id);
  }

  #call<T>(doing: string, run: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#engine.call({ doing, missing: 'container' }, run, signal);
  }

  async #unless(done: RegExp, act: () => Promise<unknown>): Promise<void> {
    try {
      await act();
    } catch (error) {
      const cause = (error as AppError).cause;
      if (statusOf(error) === undefined || !(cause instanceof Error) || !done.test(cause.message)) throw error;
    }
  }
}

function unlessStopped(error: unknown): void {
  if (statusOf(error) !== 304) throw error;
}
