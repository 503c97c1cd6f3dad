import type { Logger } from '../log.ts';
import { AppError } from '../errors.ts';
import { egressPaths } from './egress.ts';
import type { Container, Process } from './runtime.ts';
import { Timers } from './timers.ts';

const { directory, socket, relay, port } = egressPaths;
const argv = [relay, `${directory}/${socket}`, String(port)];
const startTimeout = 10_000;
const longestPause = 30_000;

/**
 * The listener inside a sandbox that leads to its proxy. It runs as the sandbox's own user, who may kill it: then it is
 * started again. It ends with this connection to it.
 */
export class EgressRelay implements AsyncDisposable {
  readonly #container: Pick<Container, 'exec'>;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  #process: Process | undefined;

  constructor(container: Pick<Container, 'exec'>, log: Logger) {
    this.#container = container;
    this.#log = log;
  }

  /** Resolves when it listens. Rejects `internal` when it does not, `sandbox_lost` when the container is gone. */
  async start(): Promise<void> {
    await this.#start();
    void this.#keep();
  }

  async #start(): Promise<void> {
    const process = await this.#container.exec(argv, { signal: this.#stop.signal });
    this.#process = process;
    void process.stderr.cancel().catch(() => {});
    using timers = new Timers();
    const reader = process.stdout.getReader();
    const first = await Promise.race([reader.read(), timers.after(startTimeout)]);
    reader.releaseLock();
    if (first?.value) return;
    await process[Symbol.asyncDispose]();
    throw new AppError('internal', "The sandbox's way to the network could not be opened.");
  }

  async #keep(): Promise<void> {
    for (let pause = 250; !this.#stop.signal.aborted; pause = Math.min(pause * 2, longestPause)) {
      const started = performance.now();
      try {
        await this.#process?.wait();
        if (performance.now() - started > longestPause) pause = 250;
        using timers = new Timers();
        await Promise.race([timers.after(pause), timers.aborted(this.#stop.signal)]);
        if (!this.#stop.signal.aborted) await this.#start();
      } catch (err) {
        if (this.#stop.signal.aborted || (err instanceof AppError && err.code === 'sandbox_lost')) return;
        this.#log.warn({ event: 'egress.relay_failed', err });
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#process?.[Symbol.asyncDispose]();
  }
}
