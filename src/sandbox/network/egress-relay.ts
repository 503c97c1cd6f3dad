import type { Logger } from '../../log.ts';
import { AppError } from '../../errors.ts';
import { egressPaths } from './egress.ts';
import type { Container, Process } from '../ports/runtime.ts';
import { Timers } from '../../lib/timers.ts';
import { detached } from '../../lib/detached.ts';

const { directory, socket, relay, port } = egressPaths;
const argv = [relay, `${directory}/${socket}`, String(port)];
const startTimeout = 10_000;
const shortestPause = 250;
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
    detached(this.#keep());
  }

  async #start(): Promise<void> {
    const process = await this.#container.exec(argv, { signal: this.#stop.signal });
    this.#process = process;
    detached(process.stderr.cancel().catch(() => {}));
    using timers = new Timers();
    const reader = process.stdout.getReader();
    const first = await Promise.race([reader.read(), timers.after(startTimeout)]);
    reader.releaseLock();
    if (first?.value) return;
    await process[Symbol.asyncDispose]();
    throw new AppError('internal', "The sandbox's way to the network could not be opened.");
  }

  /** Starts it again whenever it ends, each time after a pause: a short one where it had run for long. */
  async #keep(): Promise<void> {
    const { signal } = this.#stop;
    for (let pause = shortestPause; !signal.aborted; pause = Math.min(pause * 2, longestPause)) {
      const started = performance.now();
      const over = await this.#runToEnd();
      if (over || signal.aborted) return;
      if (performance.now() - started > longestPause) pause = shortestPause;
      using timers = new Timers();
      await Promise.race([timers.after(pause), timers.aborted(signal)]);
    }
  }

  /** Resolves at the relay's end; true when there is nothing to start it in any more. */
  async #runToEnd(): Promise<boolean> {
    try {
      if (!this.#process) await this.#start();
      const code = await this.#process?.wait();
      this.#log.info({ event: 'egress.relay_ended', code });
      return false;
    } catch (err) {
      const lost = err instanceof AppError && err.code === 'sandbox_lost';
      if (!lost && !this.#stop.signal.aborted) this.#log.warn({ event: 'egress.relay_failed', err });
      return lost;
    } finally {
      await this.#process?.[Symbol.asyncDispose]();
      this.#process = undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#process?.[Symbol.asyncDispose]();
  }
}
