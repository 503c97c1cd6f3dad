import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { inlet } from '../../src/runtimes/docker/inlet.ts';
import { Outlet } from '../../src/runtimes/docker/outlet.ts';
import { AppError } from '../../src/errors.ts';
import type { Process } from '../../src/sandbox/ports/runtime.ts';

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

/** A process of the fake runtime: a child of this one, leader of a group of its own. */
export class FakeProcess implements Process {
  readonly stdin: WritableStream<Uint8Array>;
  readonly stdout: ReadableStream<Uint8Array>;
  readonly stderr: ReadableStream<Uint8Array>;
  readonly ended: Promise<void>;
  /** Settles when the child itself is gone. */
  readonly gone: Promise<unknown>;
  readonly #child: Child;
  readonly #outlets = [new Outlet(), new Outlet()] as const;
  readonly #lost = Promise.withResolvers<never>();
  readonly #exit: Promise<number>;

  constructor(argv: readonly string[], options: { cwd: string; env: Record<string, string> }) {
    this.#child = spawn(argv[0]!, argv.slice(1), { ...options, detached: true, stdio: 'pipe' });
    this.#child.stdin.on('error', () => {});
    this.#lost.promise.catch(() => {});
    this.#exit = exitCode(this.#child);
    this.gone = this.#exit;
    this.stdin = inlet(this.#child.stdin);
    this.stdout = this.#outlets[0].stream;
    this.stderr = this.#outlets[1].stream;
    const pumps = [pump(this.#child.stdout, this.#outlets[0]), pump(this.#child.stderr, this.#outlets[1])];
    this.ended = Promise.all(pumps).then(() => {});
  }

  wait(): Promise<number> {
    const exit = Promise.race([this.ended.then(() => this.#exit), this.#lost.promise]);
    exit.catch(() => {});
    return exit;
  }

  async resize(): Promise<void> {}

  signal(signal: NodeJS.Signals): void {
    try {
      process.kill(-this.#child.pid!, signal);
    } catch {
      // It has ended.
    }
  }

  fail(error: AppError): void {
    this.#lost.reject(error);
    for (const outlet of this.#outlets) outlet.fail(error);
    this.#child.stdin.destroy();
    this.#child.stdout.destroy();
    this.#child.stderr.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.fail(new AppError('cancelled', 'The process was let go.'));
    await this.ended;
  }
}

async function pump(from: Readable, to: Outlet): Promise<void> {
  try {
    for await (const chunk of from) await to.write(chunk);
    to.close();
  } catch {
    to.fail(new AppError('sandbox_lost', 'The sandbox ended while the process ran.'));
  }
}

async function exitCode(child: Child): Promise<number> {
  try {
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    return code ?? 128 + constants.signals[signal!];
  } catch {
    return 127;
  }
}
