import { setTimeout as sleep } from 'node:timers/promises';
import { Pace } from '../../../lib/pace.ts';
import type { Screen } from './screen.ts';

/** Bytes drawn at a time. */
const batch = 16 * 1024;
/** Milliseconds of drawing per millisecond, and at once: one terminal alone, and all of the server together. */
const own = { share: 0.25, burst: 500 };
const together = { share: 0.5, burst: 500 };
/** Milliseconds to wait for a screen that has more to draw than it may. */
const patience = 1000;

/** What all flooding terminals have drawn. */
const everyone = new Pace(together.share, together.burst);

interface Part {
  readonly bytes: Uint8Array;
  /** Offset behind the bytes. */
  readonly end: number;
}

/** Draws a terminal's bytes in order, and slower once it has taken more than its share of time. */
export class ScreenFeed {
  readonly #screen: Screen;
  readonly #onDrawn: (to: number) => void;
  readonly #pace = new Pace(own.share, own.burst);
  readonly #queue: Part[] = [];
  #betweenParts: (() => void)[] = [];
  #idle: Promise<void> = Promise.resolve();
  #running = false;

  /** `onDrawn` is called with the offset up to which the bytes have reached the screen. */
  constructor(screen: Screen, onDrawn: (to: number) => void) {
    this.#screen = screen;
    this.#onDrawn = onDrawn;
  }

  /** Bytes of the stream at an offset, which must not change afterwards. */
  push(bytes: Uint8Array, offset: number): void {
    for (let at = 0; at < bytes.length; at += batch) {
      const part = bytes.subarray(at, at + batch);
      this.#queue.push({ bytes: part, end: offset + at + part.length });
    }
    if (!this.#running && this.#queue.length > 0) this.#idle = this.#run();
  }

  /** Resolves when the screen shows all that came, or as much as it is allowed for now. */
  async settled(): Promise<void> {
    if (!this.#running) return;
    const waiting = new AbortController();
    const late = sleep(patience, undefined, { signal: waiting.signal, ref: false }).catch(() => {});
    await Promise.race([this.#idle, late]);
    waiting.abort();
  }

  /** Calls back while the screen shows exactly the bytes that were told to be drawn. */
  between<T>(look: () => T): Promise<T> {
    if (!this.#running) return Promise.resolve(look());
    const { promise, resolve } = Promise.withResolvers<T>();
    this.#betweenParts.push(() => resolve(look()));
    return promise;
  }

  async #run(): Promise<void> {
    this.#running = true;
    for (let part = this.#queue.shift(); part; part = this.#queue.shift()) {
      const cost = await this.#screen.draw(part.bytes);
      this.#onDrawn(part.end);
      for (const look of this.#betweenParts.splice(0)) look();
      const pause = this.#pace.take(cost);
      if (pause > 0) await sleep(Math.max(pause, everyone.take(cost)), undefined, { ref: false });
    }
    this.#running = false;
  }
}
