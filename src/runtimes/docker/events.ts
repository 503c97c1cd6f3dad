import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../log.ts';
import type { RuntimeEvent } from '../../sandbox/ports/runtime.ts';
import { abortable, type Engine } from './client.ts';
import { labels } from './spec.ts';
import { detached } from '../../lib/detached.ts';

/** What the runtime itself also wants to know: that an exec has ended. */
export type EngineEvent =
  RuntimeEvent | { readonly type: 'exec_die'; readonly container: string; readonly exec: string };

type Listener = (event: EngineEvent) => void;

const longestLine = 1024 ** 2;
const longestPause = 5000;

/**
 * One connection to the engine's events for as long as the runtime lives, however many listen. Reconnects with growing
 * pauses; each connection but one made at once at the start is told as `reconnected`, since events may be lost before it.
 */
export class Events implements Disposable {
  readonly #engine: Engine;
  readonly #instance: string;
  readonly #log: Logger;
  readonly #listeners = new Set<Listener>();
  readonly #stop = new AbortController();
  readonly #lastOom = new Map<string, number>();
  #started = false;

  constructor(engine: Engine, options: { instance: string; log: Logger }) {
    this.#engine = engine;
    this.#instance = options.instance;
    this.#log = options.log;
  }

  /** Calls back until the signal aborts. A listener must neither throw nor block. */
  listen(listener: Listener, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#listeners.add(listener);
    signal.addEventListener('abort', () => this.#listeners.delete(listener), { once: true });
    if (!this.#started) detached(this.#run());
    this.#started = true;
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    for (let failures = 0, first = true; !signal.aborted; first = false) {
      try {
        await this.#connection(first, () => (failures = 0));
      } catch (err) {
        if (!signal.aborted && failures === 0) this.#log.warn({ event: 'engine.events_lost', err });
      }
      await sleep(Math.min(100 * 2 ** failures++, longestPause), undefined, { signal }).catch(() => {});
    }
  }

  async #connection(first: boolean, connected: () => void): Promise<void> {
    const filters = {
      type: ['container'],
      label: [`${labels.instance}=${this.#instance}`],
      event: ['die', 'oom', 'destroy', 'exec_die'],
    };
    const body = await this.#engine.docker.getEvents(
      abortable({ filters: JSON.stringify(filters) }, this.#stop.signal),
    );
    connected();
    if (!first) this.#tell({ type: 'reconnected' });
    for await (const line of lines(body)) this.#receive(line);
  }

  #receive(line: string): void {
    const event = parseEvent(line);
    if (event && !(event.type === 'oom' && this.#toldOomLately(event.container))) this.#tell(event);
  }

  #tell(event: EngineEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  /** A container at its limit can emit hundreds of `oom` events for one kill: one a second is told. */
  #toldOomLately(container: string): boolean {
    const now = performance.now();
    for (const [id, at] of this.#lastOom) if (now - at >= 1000) this.#lastOom.delete(id);
    if (this.#lastOom.has(container)) return true;
    this.#lastOom.set(container, now);
    return false;
  }
}

async function* lines(body: NodeJS.ReadableStream): AsyncGenerator<string> {
  let rest = '';
  body.setEncoding('utf8');
  for await (const chunk of body as AsyncIterable<string>) {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    if (rest.length > longestLine) throw new Error(`an event is longer than ${longestLine} bytes`);
    yield* parts;
  }
}

interface WireEvent {
  readonly Action?: string;
  readonly Actor?: { readonly ID?: string; readonly Attributes?: Readonly<Record<string, string>> };
}

/** One line of the engine's event stream; `undefined` for what is of no concern here. */
export function parseEvent(line: string): EngineEvent | undefined {
  if (!line.trim()) return undefined;
  const { Action, Actor }: WireEvent = JSON.parse(line);
  const { ID: container, Attributes: attributes = {} } = Actor ?? {};
  if (!container) return undefined;
  if (Action === 'die') return { type: 'die', container, exitCode: Number(attributes['exitCode'] ?? -1) };
  if (Action === 'oom' || Action === 'destroy') return { type: Action, container };
  if (Action === 'exec_die') return { type: 'exec_die', container, exec: attributes['execID'] ?? '' };
  return undefined;
}

const longestQueue = 1024;

/** The events from now on as an iterable. A consumer too far behind loses them and is told `reconnected`. */
export function eventQueue(events: Events, signal: AbortSignal): AsyncIterable<RuntimeEvent> {
  const queue: RuntimeEvent[] = [];
  let wake = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => wake.resolve(), { once: true });
  events.listen((event) => {
    if (event.type === 'exec_die') return;
    if (queue.length >= longestQueue) queue.splice(0, longestQueue, { type: 'reconnected' });
    queue.push(event);
    wake.resolve();
  }, signal);
  return drain();

  async function* drain(): AsyncGenerator<RuntimeEvent> {
    while (!signal.aborted) {
      const event = queue.shift();
      if (event) yield event;
      else {
        await wake.promise;
        wake = Promise.withResolvers();
      }
    }
  }
}
