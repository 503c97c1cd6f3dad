import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type Docker from 'dockerode';
import { AppError } from '../../errors.ts';
import type { ExecOptions, Process } from '../../sandbox/ports/runtime.ts';
import { cancelled, type Engine } from './client.ts';
import { Demux } from './demux.ts';
import { engineError, statusOf } from './errors.ts';
import type { EngineEvent } from './events.ts';
import { inlet } from './inlet.ts';
import { Outlet } from './outlet.ts';
import { detached } from '../../lib/detached.ts';

/** Milliseconds that streams get to end by themselves after their container died. */
const grace = 1000;

/** Milliseconds within which the engine tells of a container's death after that of its processes. */
const deathNotice = 500;

/** What an exec also answers when its container is killed: while it starts, as the engine and its runtime like, and by SIGKILL. */
const ambiguous: ReadonlySet<number> = new Set([126, 127, 128, 137]);

/**
 * One exec, attached by a hijacked connection. The engine can neither kill an exec nor attach to it again: disposing
 * closes the connection. The process sees the end of its stdin; one that never reads it goes on to its own end, its
 * output drained by the engine.
 */
export class EngineProcess implements Process {
  readonly stdin: WritableStream<Uint8Array>;
  readonly stdout: ReadableStream<Uint8Array>;
  readonly stderr: ReadableStream<Uint8Array>;
  readonly #engine: Engine;
  readonly #exec: Docker.Exec;
  readonly #container: string;
  readonly #socket: Socket;
  readonly #out = new Outlet();
  readonly #err = new Outlet();
  readonly #lost = Promise.withResolvers<never>();
  readonly #stop = new AbortController();
  /** Settles when no more bytes will come; never rejects. */
  readonly ended: Promise<void>;
  #news = Promise.withResolvers<void>();
  #exit: Promise<number> | undefined;

  constructor(engine: Engine, exec: Docker.Exec, container: string, socket: Socket, tty: boolean) {
    this.#engine = engine;
    this.#exec = exec;
    this.#container = container;
    this.#socket = socket;
    this.#lost.promise.catch(() => {});
    this.stdin = inlet(socket);
    this.stdout = this.#out.stream;
    this.stderr = this.#err.stream;
    if (tty) this.#err.close();
    this.ended = this.#pump(tty);
  }

  wait(): Promise<number> {
    this.#exit ??= Promise.race([this.#exitCode(), this.#lost.promise]);
    // Whoever asks early and listens late must not end the server.
    this.#exit.catch(() => {});
    return this.#exit;
  }

  /** Resolves when the process runs or has ended. The engine has no event for it, so it is asked again and again. */
  async started(): Promise<void> {
    for (let pause = 5; !this.#stop.signal.aborted; pause *= 2) {
      const { Pid, ExitCode } = await this.#inspect();
      if (Pid > 0 || ExitCode !== null) return;
      await sleep(pause, undefined, { signal: this.#stop.signal }).catch(() => {});
    }
  }

  async resize(rows: number, cols: number): Promise<void> {
    await this.#engine.call({ doing: 'resize a terminal', missing: 'container' }, (abortSignal) =>
      this.#exec.resize({ h: rows, w: cols, abortSignal }),
    );
  }

  /** What the engine tells about this process's container. */
  notice(event: EngineEvent): void {
    if (event.type === 'die' || event.type === 'destroy') this.#containerDied();
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }

  /** Ends the connection. Readers, a pending write and `wait` get the error. */
  fail(error: AppError): void {
    this.#lost.reject(error);
    this.#stop.abort();
    this.#out.fail(error);
    this.#err.fail(error);
    this.#socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.fail(new AppError('cancelled', 'The process was let go.'));
    await this.ended;
  }

  async #pump(tty: boolean): Promise<void> {
    const demux = new Demux();
    try {
      for await (const chunk of this.#socket as AsyncIterable<Buffer>) {
        if (tty) await this.#out.write(chunk);
        else
          for (const { stream, bytes } of demux.push(chunk)) await (stream === 2 ? this.#err : this.#out).write(bytes);
      }
      if (!demux.whole) throw new AppError('engine_unavailable', "The engine's connection ended early.");
      this.#out.close();
      this.#err.close();
    } catch (error) {
      this.fail(engineError(error, { doing: 'read from the sandbox' }));
    }
  }

  #containerDied(): void {
    this.#lost.reject(lostError());
    const timer = setTimeout(() => this.fail(lostError()), grace);
    detached(this.ended.then(() => clearTimeout(timer)));
  }

  async #exitCode(): Promise<number> {
    await this.ended;
    for (;;) {
      const news = this.#news.promise;
      const { Running, ExitCode } = await this.#inspect();
      if (!Running && ExitCode !== null) return await this.#ownExit(ExitCode);
      await Promise.race([news, this.#lost.promise]);
    }
  }

  /** A container's death kills its execs just before the engine knows of it: such an end waits for what comes next. */
  async #ownExit(code: number): Promise<number> {
    if (!ambiguous.has(code)) return code;
    await Promise.race([
      sleep(deathNotice, undefined, { signal: this.#stop.signal }).catch(() => {}),
      this.#lost.promise,
    ]);
    const container = this.#engine.docker.getContainer(this.#container);
    const { State } = await this.#call('look at a sandbox', (abortSignal) => container.inspect({ abortSignal }));
    if (!State.Running) throw lostError();
    return code;
  }

  async #inspect(): Promise<Docker.ExecInspectInfo> {
    try {
      return await this.#call('look at a process', (abortSignal) => this.#exec.inspect({ abortSignal }));
    } catch (error) {
      // The engine forgets an exec with its container, and every exec when it starts anew.
      throw statusOf(error) === 404 ? lostError(error) : error;
    }
  }

  #call<T>(doing: string, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return this.#engine.call({ doing, missing: 'container' }, run, this.#stop.signal);
  }
}

function lostError(cause?: unknown): AppError {
  return new AppError('sandbox_lost', 'The sandbox ended while the process ran.', { cause });
}

/** Creates and starts an exec. Rejects `sandbox_lost` when the container is gone or stopped, `busy` when it is paused. */
export async function startProcess(
  engine: Engine,
  container: string,
  argv: readonly string[],
  options: ExecOptions = {},
): Promise<EngineProcess> {
  const attempt = { doing: 'start a process', missing: 'container' } as const;
  const { tty, signal } = options;
  const exec = await engine.call(
    attempt,
    (abortSignal) => engine.docker.getContainer(container).exec({ ...execBody(argv, options), abortSignal }),
    signal,
  );
  const socket = await engine.call(
    attempt,
    async (abortSignal) => (await exec.start({ hijack: true, Tty: tty !== undefined, abortSignal })) as Socket,
    signal,
  );
  const process = new EngineProcess(engine, exec, container, socket, tty !== undefined);
  if (signal) endWith(process, signal);
  // A terminal that has ended by itself needs no size.
  if (tty) await process.resize(tty.rows, tty.cols).catch(() => {});
  return process;
}

function endWith(process: EngineProcess, signal: AbortSignal): void {
  const abort = () => process.fail(cancelled(signal));
  if (signal.aborted) return abort();
  signal.addEventListener('abort', abort, { once: true });
  detached(process.ended.then(() => signal.removeEventListener('abort', abort)));
}

/** ctrl-P ctrl-Q, Docker's default, would swallow and end; nobody types eight NULs. */
const detachKeys = Array(8).fill('ctrl-@').join(',');

function execBody(argv: readonly string[], { cwd, env, tty }: ExecOptions): Docker.ExecCreateOptions {
  const own = tty ? { TERM: 'xterm-256color', ...env } : { ...env };
  return {
    Cmd: [...argv],
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    Tty: tty !== undefined,
    Env: Object.entries(own).map(([name, value]) => `${name}=${value}`),
    DetachKeys: detachKeys,
    // Engines from API 1.42 on take it; others have 0×0 until they are told by a resize.
    ...(tty && { ConsoleSize: [tty.rows, tty.cols] as [number, number] }),
    ...(cwd !== undefined && { WorkingDir: cwd }),
  };
}
