import type { Config } from '../../../config.ts';
import type { Logger } from '../../../log.ts';
import { bootName, loadNotes, type CommandStore } from '../shell/command-store.ts';
import { degraded } from '../plain/degraded.ts';
import { FallbackLink } from '../plain/link.ts';
import { Dials, isDialFrame, noPorts } from './dials.ts';
import type { DialFrame } from './frame.ts';
import type { Greeting } from './greeting.ts';
import type { HostLink, LinkEvents, LiveFrame } from './host-link.ts';
import { Link } from './link.ts';
import type { Activity } from '../../lifecycle/live.ts';
import type { Container } from '../../ports/runtime.ts';
import type { OutputBudget } from '../shell/output-budget.ts';
import { ShellRunner } from '../shell/runner.ts';
import { Shell } from '../shell/shell.ts';
import { Terminals } from '../terminal/terminals.ts';
import type { ActiveCommand, PortsPort, ShellPort, TerminalsPort } from '../../ports/workspace.ts';
import { detached } from '../../../lib/detached.ts';

/** A sandbox's session host as the server holds it. Disposing detaches and ends nothing. */
export interface SessionHost extends AsyncDisposable {
  readonly shell: ShellPort & Pick<Shell, 'commands'>;
  readonly terminals: TerminalsPort;
  readonly ports: PortsPort;
  /** What the shell runs, then what waits for it in order. */
  commands(): readonly ActiveCommand[];
  /** What keeps the sandbox from being idled out. Rejects `timeout` and `sandbox_lost`. */
  activity(): Promise<Activity>;
  /** The command that the shell runs. */
  command(): string | undefined;
  /** False while the host can't be reached. */
  alive(): boolean;
  /** What another host's shell needs to go on as this idle one; undefined where there is nothing to be had. Never rejects. */
  carry(): Promise<Uint8Array | undefined>;
  /** True where the shell began with what was carried. */
  readonly restored: boolean;
  /** True where commands or terminals had been begun before this server came. */
  readonly used?: boolean;
  /** Gives the clause for `closed`. */
  endsBecause?(why: string): void;
  /** Resolves with a clause such as `its container ended` when the sandbox can't be used any more. */
  readonly closed: Promise<string>;
  /** Sentences: what is missing without a session host in the sandbox. Empty where one runs. */
  readonly degraded: readonly string[];
}

export interface SessionHostOptions {
  /** 32 bytes that only this installation can derive. */
  readonly token: Uint8Array;
  readonly log: Logger;
  readonly config: Pick<Config, 'terminal'> & {
    readonly shell: Omit<Config['shell'], 'host' | 'history_memory'>;
    /** Where terminals start; absent: in `/workspace`. */
    readonly security?: Pick<Config['security'], 'working_directory'>;
  };
  readonly store?: CommandStore;
  /** What `carry` gave, for a host whose shell has run nothing. Where it is no use, that is logged. */
  readonly carried?: Uint8Array;
  /** For the output of ended commands in all sandboxes. */
  readonly budget?: OutputBudget;
  /** How the host is reached; absent: the bridge at its usual place. */
  readonly attach?: readonly string[];
}

/** Bytes of output that a sandbox's finished commands hold together. */
const historyBytes = 2 * 1024 * 1024;
const minimumPage = 4096;

/** Connects to the container's session host and takes over what an earlier server left there. */
export async function openShellHost(container: Container, options: SessionHostOptions): Promise<SessionHost> {
  const host = new Host(new Link(container, options), options, []);
  await host.connect();
  if (options.carried) await host.restore(options.carried);
  return host;
}

/**
 * Does without a session host, in a container that was made for that. `used`: an earlier server used it; what that one
 * left there is ended. Rejects `unsupported` when the image has no shell that starts.
 */
export async function openFallback(
  container: Container,
  options: SessionHostOptions & { readonly used: boolean },
): Promise<SessionHost> {
  const { config, log, used } = options;
  const cwd = config.security?.working_directory ?? '/workspace';
  const link = new FallbackLink(container, { log, used, shell: config.shell.default_shell, cwd });
  const host = new Host(link, options, degraded);
  await host.connect();
  return host;
}

class Host implements SessionHost, LinkEvents {
  readonly #link: HostLink;
  readonly #runner: ShellRunner;
  readonly #store: CommandStore | undefined;
  readonly #log: Logger;
  restored = false;
  used = false;
  readonly shell: Shell;
  readonly terminals: Terminals;
  readonly #dials: Dials;
  readonly ports: PortsPort;
  readonly closed: Promise<string>;
  readonly degraded: readonly string[];

  constructor(link: HostLink, options: SessionHostOptions, missing: readonly string[]) {
    const { shell, terminal } = options.config;
    this.#link = link;
    this.#log = options.log;
    this.degraded = missing;
    this.#store = options.store;
    this.#runner = new ShellRunner({
      link: this.#link,
      output: { head: shell.output_head, tail: shell.output_tail, window: shell.window },
      timeout: shell.timeout,
      history: shell.history,
      historyBytes,
      budget: options.budget,
      queue: shell.queue,
      store: options.store,
    });
    const page = Math.max(minimumPage, shell.output_head + shell.output_tail);
    const { timeout, max_timeout: maxTimeout, wait } = shell;
    this.shell = new Shell(this.#runner, { timeout, maxTimeout, wait, page });
    this.terminals = new Terminals({
      link: this.#link,
      limits: { ...terminal, maxWait: shell.max_timeout },
      shell: shell.default_shell,
      directory: options.config.security?.working_directory ?? '/workspace',
      store: options.store,
    });
    this.#dials = new Dials(link);
    this.ports = missing.length > 0 ? noPorts : this.#dials;
    this.closed = this.#link.closed;
    detached(this.closed.then((reason) => this.#lost(reason)));
  }

  async connect(): Promise<void> {
    await this.#link.connect(this);
  }

  /** Before the first command. */
  async restore(carried: Uint8Array): Promise<void> {
    try {
      await this.#link.give?.(carried);
      this.restored = true;
    } catch (err) {
      this.#log.warn({ event: 'shell.not_restored', err });
    }
    this.#runner.begins();
  }

  async carry(): Promise<Uint8Array | undefined> {
    return await this.#link.carry?.();
  }

  attached(greeting: Greeting, first: boolean): void {
    if (first) this.used = greeting.highest > 0;
    const inherited = first ? loadNotes(this.#store, bootName(greeting.boot)) : undefined;
    this.#runner.attached(greeting, inherited);
    this.terminals.attached(greeting, inherited);
    this.#dials.attached();
  }

  frame(frame: LiveFrame | DialFrame): void {
    if (isDialFrame(frame) || this.#dials.owns(frame)) this.#dials.frame(frame);
    else if (frame.type === 'shell') this.#runner.shellIs(frame);
    else if (!this.#runner.frame(frame)) this.terminals.frame(frame);
  }

  detached(): void {
    this.#dials.detached();
  }

  waiting(): boolean {
    return this.#runner.busy || this.terminals.openCount > 0 || this.#dials.openCount > 0;
  }

  commands(): ActiveCommand[] {
    return this.shell.active();
  }

  async activity(): Promise<Activity> {
    const pong = await this.#link.ping();
    const { openCount, watched } = this.terminals;
    return { running: this.#runner.busy, processes: Math.max(0, pong.processes - openCount), watched };
  }

  command(): string | undefined {
    return this.#runner.running;
  }

  alive(): boolean {
    return this.#link.isAttached;
  }

  endsBecause(why: string): void {
    this.#link.endsBecause?.(why);
  }

  #lost(reason: string): void {
    this.#runner.lost(reason);
    this.terminals.lost();
    this.#dials.detached();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.shell.release();
    await this.#link[Symbol.asyncDispose]();
  }
}
