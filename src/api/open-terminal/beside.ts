import { detached } from '../../lib/detached.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Lease } from '../../sandbox/sandboxes.ts';
import type { TerminalWatch } from '../../sandbox/ports/workspace.ts';

/** Bytes of output that are kept of one command; the newest. */
const mostKept = 256 * 1024;
/** Ended commands that are remembered of one sandbox. */
const mostEnded = 50;
/** Sandboxes whose commands are remembered. */
const mostSandboxes = 1000;

/** A command that runs in a terminal of its own because the shell was busy. */
export class BesideCommand {
  readonly id: string;
  readonly command: string;
  readonly cwd: string;
  readonly ended: Promise<void>;
  exitCode: number | null = null;
  isRunning = true;
  wasKilled = false;
  #endedAt = 0;
  #kept = Buffer.alloc(0);
  #total = 0;

  constructor(command: string, cwd: string, watch: TerminalWatch) {
    this.id = watch.info.sessionId;
    this.command = command;
    this.cwd = cwd;
    this.ended = this.#follow(watch);
  }

  /** Seconds since its end; undefined while it runs. */
  get endedFor(): number | undefined {
    return this.isRunning ? undefined : (performance.now() - this.#endedAt) / 1000;
  }

  get total(): number {
    return this.#total;
  }

  /** The output from an offset on, as far as it is kept. */
  from(offset: number): Buffer {
    return this.#kept.subarray(Math.max(0, offset - (this.#total - this.#kept.length)));
  }

  /** Waits for the end, so many seconds at most. */
  async within(seconds: number): Promise<void> {
    using over = new Alarm(seconds);
    await Promise.race([this.ended, over.rings]);
  }

  async #follow({ output, exited }: TerminalWatch): Promise<void> {
    try {
      for await (const bytes of output) this.#add(bytes);
      this.exitCode = await exited;
    } catch {
      // The sandbox is gone, and the command with it.
    }
    this.isRunning = false;
    this.#endedAt = performance.now();
  }

  #add(bytes: Uint8Array): void {
    // A view begins by clearing the screen.
    const piece = this.#total === 0 && bytes[0] === 0x1b && bytes[1] === 0x63 ? bytes.subarray(2) : bytes;
    this.#total += piece.length;
    this.#kept = Buffer.concat([this.#kept, piece]).subarray(-mostKept);
  }
}

class Alarm implements Disposable {
  readonly #cleared = new AbortController();
  readonly rings: Promise<void>;

  constructor(seconds: number) {
    const options = { signal: this.#cleared.signal, ref: false };
    this.rings = sleep(seconds * 1000, undefined, options).catch(() => {});
  }

  [Symbol.dispose](): void {
    this.#cleared.abort();
  }
}

/** The commands beside the shells, by sandbox. They are known for as long as the server runs. */
export class BesideCommands {
  readonly #bySandbox = new Map<string, BesideCommand[]>();

  of(handle: string): readonly BesideCommand[] {
    return this.#bySandbox.get(handle) ?? [];
  }

  /** Starts one; the lease is held until its end. */
  async start(lease: Lease, script: string, command: string, cwd: string): Promise<BesideCommand> {
    await using held = new AsyncDisposableStack();
    held.use(lease);
    const { terminals, handle } = lease.workspace;
    const { sessionId } = await terminals.start({ command: script, cwd, cols: 120, rows: 40 });
    const never = new AbortController().signal;
    const started = new BesideCommand(command, cwd, await terminals.watch(sessionId, never, { uncounted: true }));
    this.#bySandbox.set(handle, [...this.#remembered(handle), started]);
    detached(this.#release(started, lease, held.move()));
    return started;
  }

  #remembered(handle: string): BesideCommand[] {
    const all = this.#bySandbox.get(handle) ?? [];
    const ended = all.filter(({ isRunning }) => !isRunning);
    const tooMany = new Set(ended.slice(0, Math.max(0, ended.length - mostEnded + 1)));
    return all.filter((one) => !tooMany.has(one));
  }

  /** Never rejects: what a lost sandbox held is gone anyway. */
  async #release(started: BesideCommand, { workspace }: Lease, held: AsyncDisposable): Promise<void> {
    await started.ended;
    await workspace.terminals.end(started.id).catch(() => {});
    await held[Symbol.asyncDispose]();
    const [oldest] = this.#bySandbox.keys();
    if (this.#bySandbox.size > mostSandboxes && oldest !== undefined) this.#bySandbox.delete(oldest);
  }
}
