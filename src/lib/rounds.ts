import type { Logger } from '../log.ts';
import { detached } from './detached.ts';

export interface RoundsOptions {
  /** Seconds between two rounds. */
  readonly interval: number;
  readonly log: Logger;
  /** The event that a failed round is logged as. */
  readonly failed: string;
}

/** Something done again and again until it is disposed, never twice at once; a round that fails is logged. */
export class Rounds implements Disposable {
  readonly #timer: NodeJS.Timeout;
  #going = false;

  constructor(round: () => Promise<unknown>, { interval, log, failed }: RoundsOptions) {
    const go = async () => {
      if (this.#going) return;
      this.#going = true;
      try {
        await round();
      } catch (err) {
        log.warn({ event: failed, err });
      } finally {
        this.#going = false;
      }
    };
    this.#timer = setInterval(() => detached(go()), interval * 1000).unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
