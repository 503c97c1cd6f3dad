import { unfinished } from '../../../lib/escapes.ts';
import type { Terminal } from './terminal.ts';
import { Timers } from '../../../lib/timers.ts';

const chunk = 64 * 1024;
/** Bytes that a watcher may lag behind before it gets a repaint. */
const maxLag = 256 * 1024;

/**
 * What a person at the terminal would see: the screen as it is, then every byte. A watcher that falls too far behind
 * gets the screen again. The stream ends with the terminal's program, or when the signal aborts.
 */
export function watchStream(terminal: Terminal, signal: AbortSignal, counted = true): ReadableStream<Uint8Array> {
  const ended = new AbortController();
  const either = AbortSignal.any([signal, ended.signal]);
  const position = new WatchPosition(terminal);
  if (counted && !either.aborted) countWatcher(terminal, either);
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const bytes = await position.next(either);
        if (bytes) return controller.enqueue(bytes);
        ended.abort();
        controller.close();
      },
      cancel: () => ended.abort(),
    },
    { highWaterMark: 0 },
  );
}

function countWatcher(terminal: Terminal, until: AbortSignal): void {
  terminal.watchers += 1;
  until.addEventListener('abort', () => (terminal.watchers -= 1), { once: true });
}

class WatchPosition {
  readonly #terminal: Terminal;
  /** Offset of the next byte to send; undefined before the first repaint. */
  #at: number | undefined;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** The next bytes; undefined at the end. */
  async next(signal: AbortSignal): Promise<Uint8Array | undefined> {
    using timers = new Timers();
    const aborted = timers.aborted(signal);
    const { ring } = this.#terminal;
    while (!signal.aborted) {
      if (this.#at === undefined || ring.end - this.#at > maxLag || this.#at < ring.start) return await this.#repaint();
      if (ring.end > this.#at) return this.#read(this.#at);
      if (this.#terminal.isExited) return undefined;
      await Promise.race([this.#terminal.news, aborted]);
    }
    return undefined;
  }

  #read(from: number): Uint8Array {
    const bytes = this.#terminal.ring.read(from, from + chunk);
    this.#at = from + bytes.length;
    return bytes;
  }

  /** The bytes of a sequence that is only half drawn are sent again: they have not changed the screen yet. */
  async #repaint(): Promise<Uint8Array> {
    const { feed, ring, screen } = this.#terminal;
    await feed.settled();
    return await feed.between(() => {
      const { drawn } = this.#terminal;
      this.#at = drawn - unfinished(ring.read(drawn - 4096, drawn));
      return screen.repaint();
    });
  }
}
