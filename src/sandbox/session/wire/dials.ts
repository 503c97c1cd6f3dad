import { AppError } from '../../../errors.ts';
import { Timers } from '../../../lib/timers.ts';
import type { ListeningPort, PortsPort } from '../../ports/workspace.ts';
import { Dialled } from './dialled.ts';
import { dialLevel, type DialFrame, type HostFrame } from './frame.ts';
import { unreachable, type HostLink } from './host-link.ts';
import * as request from './request.ts';

/** Milliseconds. */
const connectTimeout = 10_000;
const listTimeout = 5000;
const watchCommands = 1;
const watchTime = 2;

type ListenFrame = Extract<HostFrame, { type: 'listening' }>;

/** Connections to what listens in a sandbox, and the list of that. */
export class Dials implements PortsPort {
  readonly #link: HostLink;
  readonly #open = new Map<number, Dialled>();
  readonly #asked = new Map<bigint, (ports: readonly ListeningPort[]) => void>();
  readonly #changed = new Set<() => void>();
  #known: readonly ListeningPort[] = [];
  #cookie = 0n;
  #waiting = 0;

  constructor(link: HostLink) {
    this.#link = link;
  }

  get openCount(): number {
    return this.#open.size;
  }

  async dial(target: number | string, signal?: AbortSignal): Promise<Dialled> {
    signal?.throwIfAborted();
    await this.#ready();
    const channel = this.#link.nextChannel();
    const send = (...frames: Uint8Array[]) => this.#link.send(...frames);
    const dialled = new Dialled({ channel, send, over: () => this.#open.delete(channel) });
    // Whoever awaits `connected` hears of it; an error without a listener would end the process.
    dialled.on('error', () => {});
    this.#open.set(channel, dialled);
    send(request.dial(channel, target, Dialled.window));
    using timers = new Timers();
    const late = timers.after(connectTimeout).then(() => this.#giveUp(dialled, 'ETIMEDOUT'));
    const gone = timers.aborted(signal).then(() => this.#giveUp(dialled, 'ABORT_ERR'));
    return await Promise.race([dialled.connected, late, gone]);
  }

  #giveUp(dialled: Dialled, code: string): never {
    const error = Object.assign(new Error('the connection was not made in time'), { code });
    dialled.destroy(error);
    throw error;
  }

  async list(): Promise<readonly ListeningPort[]> {
    await this.#ready();
    return await this.#ask(this.#watch());
  }

  async waitFor(port: number, signal: AbortSignal): Promise<boolean> {
    await this.#ready();
    this.#waiting += 1;
    try {
      let ports = await this.#ask(watchTime);
      while (!signal.aborted && !ports.some((each) => each.port === port)) ports = await this.#change(signal);
      return !signal.aborted;
    } finally {
      this.#waiting -= 1;
      if (this.#waiting === 0) this.#link.send(request.ports(++this.#cookie, watchCommands));
    }
  }

  latest(): readonly ListeningPort[] {
    return this.#known;
  }

  async #change(signal: AbortSignal): Promise<readonly ListeningPort[]> {
    const change = Promise.withResolvers<void>();
    const settle = () => change.resolve();
    this.#changed.add(settle);
    signal.addEventListener('abort', settle, { once: true });
    if (signal.aborted) settle();
    await change.promise;
    this.#changed.delete(settle);
    signal.removeEventListener('abort', settle);
    return this.#known;
  }

  #watch(): number {
    return this.#waiting > 0 ? watchTime : watchCommands;
  }

  async #ask(watch: number): Promise<readonly ListeningPort[]> {
    const cookie = ++this.#cookie;
    const answer = Promise.withResolvers<readonly ListeningPort[]>();
    this.#asked.set(cookie, answer.resolve);
    this.#link.send(request.ports(cookie, watch));
    using timers = new Timers();
    const late = timers.after(listTimeout).then(() => Promise.reject(unreachable()));
    try {
      return await Promise.race([answer.promise, late]);
    } finally {
      this.#asked.delete(cookie);
    }
  }

  async #ready(): Promise<void> {
    await this.#link.readyWithin(connectTimeout);
    if ((this.#link.level ?? 0) < dialLevel) throw unsupported(this.#link.level);
  }

  /** A connection to the host is made: those that an earlier one carried are gone. */
  attached(): void {
    this.detached();
    if ((this.#link.level ?? 0) >= dialLevel) this.#link.send(request.ports(++this.#cookie, this.#watch()));
  }

  detached(): void {
    for (const dialled of this.#open.values()) dialled.closedBy('reset', 'the connection to the sandbox broke');
  }

  /** Whether a frame of all channels is one of these connections'. */
  owns(frame: HostFrame): boolean {
    return 'channel' in frame && this.#open.has(frame.channel);
  }

  /** Throws `FrameError` at what a host may not send. */
  frame(frame: HostFrame): void {
    if (frame.type === 'listening') return this.#listening(frame);
    const dialled = 'channel' in frame ? this.#open.get(frame.channel) : undefined;
    if (frame.type === 'data') dialled?.came(frame.offset, frame.bytes);
    else if (frame.type === 'eof') dialled?.ended();
    else if (frame.type === 'dialed') dialled?.isConnected();
    else if (frame.type === 'room') dialled?.roomFor(frame.limit);
    else if (frame.type === 'closed') dialled?.closedBy(frame.how, frame.text);
  }

  #listening({ cookie, ports }: ListenFrame): void {
    this.#known = ports;
    // The host answers the last question; those before it have the same answer.
    for (const [asked, answer] of this.#asked) if (asked <= cookie) answer(ports);
    for (const changed of this.#changed) changed();
  }
}

export function isDialFrame(frame: HostFrame): frame is DialFrame {
  return ['dialed', 'room', 'closed', 'listening'].includes(frame.type);
}

/** Where no session host runs. */
export const noPorts: PortsPort = {
  dial: () => Promise.reject(unsupported(undefined)),
  list: () => Promise.reject(unsupported(undefined)),
  waitFor: () => Promise.reject(unsupported(undefined)),
  latest: () => [],
};

function unsupported(level: number | undefined): AppError {
  const why =
    level === undefined
      ? 'this sandbox runs without a session host (see `degraded` in sandbox_status)'
      : 'its session host is of an earlier version; reset_session with scope "container" replaces it';
  return new AppError('unsupported', `The ports of this sandbox cannot be reached: ${why}.`);
}
