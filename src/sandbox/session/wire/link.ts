import { setTimeout as sleep } from 'node:timers/promises';
import { AppError, HostRefused } from '../../../errors.ts';
import type { Logger } from '../../../log.ts';
import { Carrier } from './carrier.ts';
import { Connection } from './connection.ts';
import { carryLevel, FrameError, type HostFrame } from './frame.ts';
import { type Greeting, GreetingReader } from './greeting.ts';
import { unreachable, type HostLink, type LinkEvents, type Pong } from './host-link.ts';
import * as request from './request.ts';
import type { Container } from '../../ports/runtime.ts';
import { Timers } from '../../../lib/timers.ts';
import { detached } from '../../../lib/detached.ts';

export interface LinkOptions {
  /** 32 bytes. */
  readonly token: Uint8Array;
  readonly log: Logger;
  readonly attach?: readonly string[];
}

const attachCommand = ['/opt/berth/session-host', 'attach'];
const greetingTimeout = 10_000;
const pingInterval = 15_000;
const pingTimeout = 10_000;
/** Connections in a row that a living container refused before its host is given up. */
const maxRefusals = 6;
const longestPause = 5000;

/**
 * The server's connection to one session host. It is made again, by itself, for as long as the container lives;
 * it is over when the container ends, when another host answers, or when the host breaks the protocol.
 */
export class Link implements HostLink {
  readonly #container: Container;
  readonly #options: LinkOptions;
  #events: LinkEvents | undefined;
  readonly #closed = Promise.withResolvers<string>();
  #why: string | undefined;
  readonly #closing = new AbortController();
  readonly #pings = new Map<bigint, PromiseWithResolvers<Pong>>();
  #connection: Connection | undefined;
  #attached = Promise.withResolvers<void>();
  #isAttached = false;
  #boot: bigint | undefined;
  #level = 0;
  readonly #carrier = new Carrier((...frames) => this.send(...frames));
  #highest = 0;
  #cookie = 0n;
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(container: Container, options: LinkOptions) {
    this.#container = container;
    this.#options = options;
    this.#attached.promise.catch(() => {});
  }

  /** Connects for the first time. Rejects `sandbox_lost`, or `unsupported` where no host answers. */
  async connect(events: LinkEvents): Promise<void> {
    this.#events = events;
    const connection = await this.#attach();
    detached(this.#keep(connection), this.#options.log);
  }

  /** Resolves with a clause such as `its container ended` when the host can't be reached any more. */
  get closed(): Promise<string> {
    return this.#closed.promise;
  }

  get isAttached(): boolean {
    return this.#isAttached;
  }

  /** The host's random number, new for every host. */
  get boot(): bigint {
    return this.#boot ?? 0n;
  }

  get level(): number {
    return this.#level;
  }

  /** Resolves when frames can be sent; rejects `sandbox_lost` when they never can. */
  get ready(): Promise<void> {
    return this.#attached.promise;
  }

  /** As `ready`, for a caller that can't wait for ever. Rejects `engine_unavailable`, too. */
  async readyWithin(milliseconds: number): Promise<void> {
    if (this.#isAttached) return;
    using timers = new Timers();
    const late = timers.after(milliseconds).then(() => Promise.reject(unreachable()));
    await Promise.race([this.#attached.promise, late]);
  }

  /** A number for a new command or terminal. Frames that use it must be sent in the order of these numbers. */
  nextChannel(): number {
    this.#highest += 1;
    return this.#highest;
  }

  /** Sends frames; without a connection they are lost, and `attached` is the time to say again what matters. */
  send(...frames: readonly Uint8Array[]): void {
    if (this.#isAttached) this.#connection?.send(...frames);
  }

  /** Asks the host whether it lives. Rejects `timeout`. */
  async ping(deadline = pingTimeout): Promise<Pong> {
    await this.readyWithin(deadline);
    const cookie = ++this.#cookie;
    const answer = Promise.withResolvers<Pong>();
    this.#pings.set(cookie, answer);
    const timer = setTimeout(
      () =>
        answer.reject(
          new AppError('timeout', `The sandbox's session host did not answer within ${deadline / 1000} s.`),
        ),
      deadline,
    );
    this.send(request.ping(cookie));
    try {
      return await answer.promise;
    } finally {
      clearTimeout(timer);
      this.#pings.delete(cookie);
    }
  }

  async carry(): Promise<Uint8Array | undefined> {
    return this.#isAttached && this.#level >= carryLevel ? await this.#carrier.ask() : undefined;
  }

  async give(snapshot: Uint8Array): Promise<void> {
    if (this.#level < carryLevel) throw new Error('the session host is of an earlier version');
    await this.#carrier.give(snapshot);
  }

  /** Ends the link because the caller knows that the sandbox is gone. */
  lost(reason: string): void {
    this.#close(reason);
  }

  async #attach(): Promise<Connection> {
    const argv = this.#options.attach ?? attachCommand;
    const greeting = new GreetingReader();
    const greeted = Promise.withResolvers<void>();
    const process = await this.#container.exec(argv, { signal: this.#closing.signal });
    const connection = new Connection(process, (frame) => {
      if (this.#isAttached && this.#connection === connection) return this.#receive(frame);
      if (!greeting.take(frame)) return;
      this.#welcome(connection, greeting.result());
      greeted.resolve();
    });
    connection.send(request.hello(this.#options.token));
    const timer = setTimeout(() => connection.fail(new Error('the session host did not greet')), greetingTimeout);
    try {
      await Promise.race([greeted.promise, connection.ended.then((cause) => this.#refused(connection, cause))]);
    } finally {
      clearTimeout(timer);
    }
    return connection;
  }

  #refused(connection: Connection, cause: Error): never {
    const complaint = connection.complaint.trim();
    const detail = complaint ? new Error(complaint, { cause }) : cause;
    if (cause instanceof AnotherHost) throw cause;
    throw new HostRefused('The sandbox’s session host can’t be reached.', detail);
  }

  #welcome(connection: Connection, greeting: Greeting): void {
    if (this.#boot !== undefined && this.#boot !== greeting.boot) throw new AnotherHost();
    const first = this.#boot === undefined;
    this.#boot = greeting.boot;
    this.#level = greeting.level;
    this.#highest = Math.max(this.#highest, greeting.highest);
    this.#connection = connection;
    this.#isAttached = true;
    this.#heartbeat = setInterval(
      () => detached(this.#checkPulse(connection), this.#options.log),
      pingInterval,
    ).unref();
    this.#attached.resolve();
    this.#events?.attached(greeting, first);
  }

  #receive(frame: HostFrame): void {
    if (frame.type === 'pong') return this.#pings.get(frame.cookie)?.resolve(frame);
    if (frame.type === 'welcome' || frame.type === 'channel' || frame.type === 'ready') {
      throw new FrameError('the host greeted twice');
    }
    if (frame.type !== 'snapshot') this.#events?.frame(frame);
    this.#carrier.take(frame);
  }

  async #checkPulse(connection: Connection): Promise<void> {
    if (!this.#events?.waiting()) return;
    try {
      await this.ping();
    } catch (error) {
      const paused = await this.#container.state().then(
        (state) => state.paused,
        () => false,
      );
      if (!paused) connection.fail(error as Error);
    }
  }

  /** Watches the connection and makes it again until the link is over. */
  async #keep(first: Connection): Promise<void> {
    let connection: Connection | undefined = first;
    while (connection) {
      const cause = await connection.ended;
      this.#detached();
      if (this.#closing.signal.aborted) return;
      this.#options.log.debug({ err: cause, container: this.#container.name }, 'session host connection ended');
      if (cause instanceof FrameError) return this.#close('its session host broke the protocol');
      connection = await this.#again();
    }
  }

  async #again(): Promise<Connection | undefined> {
    for (let refusals = 0, pause = 0; !this.#closing.signal.aborted; pause = Math.min(longestPause, 2 * pause + 25)) {
      const gone = await this.#whyGone();
      if (gone) return void this.#close(gone);
      try {
        return await this.#attach();
      } catch (error) {
        if (error instanceof AnotherHost) return void this.#close(error.message);
        if (error instanceof HostRefused) refusals += 1;
        if (refusals === maxRefusals) return void this.#close('its session host does not answer');
      }
      await sleep(pause, undefined, { signal: this.#closing.signal }).catch(() => {});
    }
    return undefined;
  }

  /** Why the container can't be used any more; undefined when it can, or when the engine does not say. */
  async #whyGone(): Promise<string | undefined> {
    try {
      const state = await this.#container.state(this.#closing.signal);
      if (state.running) return undefined;
      return state.oomKilled ? 'it ran out of memory and its container ended' : 'its container ended';
    } catch (error) {
      return error instanceof AppError && error.code === 'sandbox_lost' ? 'its container is gone' : undefined;
    }
  }

  #detached(): void {
    clearInterval(this.#heartbeat);
    if (!this.#isAttached) return;
    this.#isAttached = false;
    this.#connection = undefined;
    this.#attached = Promise.withResolvers<void>();
    this.#attached.promise.catch(() => {});
    this.#carrier.cut();
    this.#events?.detached?.();
    for (const ping of this.#pings.values()) {
      ping.reject(new AppError('timeout', 'The connection to the sandbox broke before its session host answered.'));
    }
  }

  /** Gives the reason of the end to come, whatever it looks like from here. */
  endsBecause(why: string): void {
    this.#why = why;
  }

  #close(seen: string): void {
    const reason = this.#why ?? seen;
    if (this.#closing.signal.aborted) return;
    const connection = this.#connection;
    this.#closing.abort();
    this.#detached();
    this.#attached.reject(new AppError('sandbox_lost', `The sandbox was lost: ${reason}.`));
    this.#closed.resolve(reason);
    connection?.fail(new Error(reason));
  }

  /** Detaches and ends nothing in the sandbox. `closed` stays pending. */
  async [Symbol.asyncDispose](): Promise<void> {
    const connection = this.#connection;
    if (!this.#closing.signal.aborted) {
      this.#closing.abort();
      this.#detached();
      this.#attached.reject(new AppError('draining', 'The server let go of the sandbox.'));
    }
    await connection?.[Symbol.asyncDispose]();
  }
}

class AnotherHost extends Error {
  constructor() {
    super('its container was started anew');
  }
}
