import { AppError } from '../../errors.ts';
import type { ExecOptions, Process } from '../../sandbox/ports/runtime.ts';
import type { Engine } from './client.ts';
import type { EngineEvent, Events } from './events.ts';
import { Starts } from './starts.ts';
import { type EngineProcess, startProcess } from './process.ts';
import { detached } from '../../lib/detached.ts';

/** The attached processes of all containers, so that an event reaches those it concerns. */
export class Processes implements Disposable {
  readonly #engine: Engine;
  readonly #events: Events;
  readonly #starts = new Starts();
  readonly #live = new Map<string, Set<EngineProcess>>();
  readonly #stop = new AbortController();
  #listening = false;

  constructor(engine: Engine, events: Events) {
    this.#engine = engine;
    this.#events = events;
  }

  async start(container: string, argv: readonly string[], options?: ExecOptions): Promise<Process> {
    this.#listen();
    using _start = await this.#starts.begin(container, options?.signal);
    const process = await startProcess(this.#engine, container, argv, options);
    const live = this.#live.get(container) ?? new Set();
    this.#live.set(container, live.add(process));
    detached(process.ended.then(() => this.#forget(container, process)));
    return process;
  }

  /**
   * Runs `act` while none of the container's processes is being started. A pause in the middle of a start leaves a
   * container that can be neither resumed nor removed (seen on Engine 20.10).
   */
  async still(container: string, act: () => Promise<void>): Promise<void> {
    using _still = await this.#starts.hold(container);
    await Promise.allSettled(this.#of(container).map((process) => process.started()));
    await act();
  }

  /** Ends the connections to a container's processes. */
  drop(container: string): void {
    for (const process of this.#of(container)) process.fail(new AppError('sandbox_lost', 'The sandbox was removed.'));
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    for (const container of this.#live.keys()) this.drop(container);
  }

  #listen(): void {
    if (!this.#listening) this.#events.listen((event) => this.#deliver(event), this.#stop.signal);
    this.#listening = true;
  }

  #deliver(event: EngineEvent): void {
    const concerned =
      event.type === 'reconnected' ? [...this.#live.values()].flatMap((set) => [...set]) : this.#of(event.container);
    for (const process of concerned) process.notice(event);
  }

  #of(container: string): EngineProcess[] {
    return [...(this.#live.get(container) ?? [])];
  }

  #forget(container: string, process: EngineProcess): void {
    const live = this.#live.get(container);
    live?.delete(process);
    if (live?.size === 0) this.#live.delete(container);
  }
}
