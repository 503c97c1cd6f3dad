import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '../../../errors.ts';
import type { Logger } from '../../../log.ts';
import type { HostLink, LinkEvents, LiveFrame, Pong } from '../wire/host-link.ts';
import type { SignalName, SignalScope } from '../wire/request.ts';
import type { Container } from '../../ports/runtime.ts';
import { NonceShell } from './nonce-shell.ts';
import { readRequest, type HostRequest } from './requests.ts';
import { Tty } from './tty.ts';
import { detached } from '../../../lib/detached.ts';

export interface FallbackOptions {
  readonly log: Logger;
  /** Path of the shell in the image. */
  readonly shell: string;
  readonly cwd: string;
  /** An earlier server used the container: what it left there is ended. */
  readonly used: boolean;
}

/** The main process and its `sleep`, the shell's keeper and the shell. */
const ownProcesses = 4;
const longestPause = 5000;
/** Milliseconds that a hung-up terminal has before it is killed. */
const hangUpTime = 2000;

/** Does in this server, over plain execs, what a session host does in the sandbox; answers the same requests. */
export class FallbackLink implements HostLink {
  readonly #container: Container;
  readonly #options: FallbackOptions;
  readonly #closed = Promise.withResolvers<string>();
  readonly #closing = new AbortController();
  readonly #ttys = new Map<number, Tty>();
  readonly #opening = new Set<Promise<void>>();
  readonly boot = randomBytes(8).readBigUInt64BE();
  #events: LinkEvents | undefined;
  #shell: NonceShell | undefined;
  #generation = 1;
  #highest = 0;
  #why: string | undefined;
  #run: (Extract<HostRequest, { type: 'run' }> & { parts: Buffer[] }) | undefined;
  #order: Promise<unknown> = Promise.resolve();

  constructor(container: Container, options: FallbackOptions) {
    this.#container = container;
    this.#options = options;
  }

  get closed(): Promise<string> {
    return this.#closed.promise;
  }

  get isAttached(): boolean {
    return this.#events !== undefined && !this.#closing.signal.aborted;
  }

  get ready(): Promise<void> {
    if (!this.#closing.signal.aborted) return Promise.resolve();
    return Promise.reject(new AppError('sandbox_lost', 'The sandbox was lost.'));
  }

  readyWithin(): Promise<void> {
    return this.ready;
  }

  nextChannel(): number {
    return (this.#highest += 1);
  }

  /** Rejects `unsupported` when the image has no shell that starts. */
  async connect(events: LinkEvents): Promise<void> {
    if (this.#options.used) await this.#endLeftovers();
    this.#shell = await this.#newShell(this.#options.cwd);
    this.#events = events;
    events.attached({ boot: this.boot, level: 0, highest: 0, channels: new Map(), shell: this.#state() }, true);
    // The shell that callers know is gone; the first result of this one says so.
    if (this.#options.used) this.#tellOfShell();
    detached(this.#keepShell(this.#shell), this.#options.log);
  }

  async ping(): Promise<Pong> {
    await Promise.all(this.#opening);
    const { pids } = await this.#container.usage(this.#closing.signal);
    return { processes: Math.max(0, pids - ownProcesses), terminals: this.#ttys.size };
  }

  send(...frames: readonly Uint8Array[]): void {
    const signals = new Map<number, { name: SignalName; scope: SignalScope }[]>();
    for (const request of frames.map(readRequest)) {
      if (request?.type === 'signal') {
        signals.set(request.channel, [...(signals.get(request.channel) ?? []), request]);
      } else if (request) this.#do(request);
    }
    for (const [channel, list] of signals) {
      this.#inOrder(() => this.#ttys.get(channel)?.signal(list) ?? this.#shell?.signal(channel, list));
    }
  }

  #do(request: Exclude<HostRequest, { type: 'signal' }>): void {
    switch (request.type) {
      case 'run':
        this.#run = { ...request, parts: [request.text] };
        return this.#runWhole();
      case 'text':
        this.#run?.parts.push(request.text);
        return this.#runWhole();
      case 'open':
        return this.#open(request);
      case 'input':
        return this.#attempt(this.#ttys.get(request.channel)?.input(request.bytes));
      case 'resize':
        return this.#attempt(this.#ttys.get(request.channel)?.resize(request.rows, request.cols));
      case 'credit':
        this.#ttys.get(request.channel)?.credit(request.limit);
        return this.#shell?.credit(request.channel, request.stream, request.limit);
      case 'forget':
        this.#shell?.forget(request.channel);
        return this.#hangUp(request.channel);
      case 'reset':
        return this.#inOrder(() => this.#shell?.kill());
    }
  }

  #runWhole(): void {
    const run = this.#run;
    const text = Buffer.concat(run?.parts ?? []);
    if (!run || text.length < run.total) return;
    this.#run = undefined;
    this.#shell?.run({ ...run, text });
  }

  #open(request: Extract<HostRequest, { type: 'open' }>): void {
    const { channel } = request;
    const start = async () => {
      try {
        const tty = await Tty.start(this.#container, request, this.#options.shell, (frame) => this.#emit(frame));
        this.#ttys.set(channel, tty);
        detached(tty.ended.then(() => this.#ttys.delete(channel)));
      } catch (error) {
        this.#emit({ type: 'error', channel, code: 'could_not_start', text: (error as Error).message });
      }
    };
    const opening = start().finally(() => this.#opening.delete(opening));
    this.#opening.add(opening);
  }

  #hangUp(channel: number): void {
    const tty = this.#ttys.get(channel);
    if (!tty) return;
    tty.forget();
    this.#inOrder(() => tty.signal([{ name: 'HUP', scope: 'tree' }]));
    const kill = () => this.#ttys.has(channel) && this.#inOrder(() => tty.signal([{ name: 'KILL', scope: 'tree' }]));
    setTimeout(kill, hangUpTime).unref();
  }

  /** Signals are sent one after another, as the steps of an interruption rely on. */
  #inOrder(act: () => Promise<void> | undefined): void {
    this.#order = this.#order.then(act).catch((err: unknown) => this.#options.log.debug({ err }, 'signal not sent'));
  }

  #attempt(done: Promise<void> | undefined): void {
    done?.catch((err: unknown) => this.#options.log.debug({ err }, 'terminal not reached'));
  }

  #emit(frame: LiveFrame): void {
    if (!this.#closing.signal.aborted) this.#events?.frame(frame);
  }

  #state() {
    return { generation: this.#generation, running: 0, cwd: this.#shell?.cwd ?? this.#options.cwd };
  }

  #tellOfShell(): void {
    this.#generation += 1;
    this.#emit({ type: 'shell', pid: 0, ...this.#state() });
  }

  #newShell(cwd: string): Promise<NonceShell> {
    const { shell } = this.#options;
    return NonceShell.start({ container: this.#container, shell, cwd, emit: (frame) => this.#emit(frame) });
  }

  /** Nothing but the main process outlives it; that one is PID 1, which no signal from inside reaches. */
  async #endLeftovers(): Promise<void> {
    await using process = await this.#container.exec(['/bin/sh', '-c', 'kill -9 -1; exit 0'], { cwd: '/' });
    await Promise.all([process.stdout.cancel(), process.stderr.cancel(), process.wait()]);
  }

  /** A shell that ended is followed by another in its directory, for as long as the container runs. */
  async #keepShell(first: NonceShell): Promise<void> {
    let shell: NonceShell | undefined = first;
    while (shell) {
      await shell.ended;
      await shell[Symbol.asyncDispose]();
      shell = await this.#nextShell(shell.cwd);
      if (!shell) return;
      this.#shell = shell;
      this.#tellOfShell();
    }
  }

  async #nextShell(cwd: string): Promise<NonceShell | undefined> {
    for (let pause = 0; !this.#closing.signal.aborted; pause = Math.min(longestPause, 2 * pause + 25)) {
      try {
        const { running, oomKilled } = await this.#container.state(this.#closing.signal);
        if (running) return await this.#newShell(cwd);
        this.#close(oomKilled ? 'it ran out of memory and its container ended' : 'its container ended');
      } catch (error) {
        if (error instanceof AppError && error.code === 'sandbox_lost') this.#close('its container is gone');
      }
      await sleep(pause, undefined, { signal: this.#closing.signal }).catch(() => {});
    }
    return undefined;
  }

  endsBecause(why: string): void {
    this.#why = why;
  }

  #close(seen: string): void {
    this.#closing.abort();
    this.#closed.resolve(this.#why ?? seen);
  }

  /** Lets go of the sandbox. A command that runs goes on to its end, without a shell after it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    const ttys = [...this.#ttys.values()].map((tty) => tty[Symbol.asyncDispose]());
    await Promise.allSettled([this.#shell?.[Symbol.asyncDispose](), ...ttys]);
  }
}
