import { AppError } from '../../errors.ts';
import { ByteReader } from '../../lib/byte-reader.ts';
import { scriptDeath, scriptFailure } from './failure.ts';
import { MarkedBody } from './marked-body.ts';
import { ownBash } from '../../lib/own-bash.ts';
import { shown } from './paths.ts';
import type { Container, Process } from '../ports/runtime.ts';
import { detached } from '../../lib/detached.ts';

const headLimit = 1024;
const stderrLimit = 4096;
/** Milliseconds a script may take to exit after its last word. */
const endLimit = 5000;

/** Where scripts run and how long they may take to answer. */
export interface ScriptHost {
  readonly container: Container;
  /** The bash in the container. */
  readonly bash: string;
  /** Milliseconds until the first line. */
  readonly deadline: number;
}

export interface ScriptCall {
  readonly script: string;
  readonly args: readonly string[];
  /** The path as the caller gave it, for sentences. */
  readonly path: string;
  /** The second path of a call that has two, or all of one that has many. */
  readonly others?: readonly string[];
  readonly signal?: AbortSignal | undefined;
}

/** One script at work in the container. Disposing ends its processes; an abort of the call's signal does, too. */
export class ScriptRun implements AsyncDisposable {
  readonly output: ByteReader;
  readonly input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #process: Process;
  readonly #call: ScriptCall;
  readonly #settled = new AbortController();
  #stderr = '';

  private constructor(process: Process, call: ScriptCall) {
    this.#process = process;
    this.#call = call;
    this.output = new ByteReader(process.stdout);
    this.input = process.stdin.getWriter();
    this.input.closed.catch(() => {});
    detached(this.#drainStderr());
    call.signal?.addEventListener('abort', () => detached(this[Symbol.asyncDispose]()), {
      signal: this.#settled.signal,
    });
  }

  static async start(host: ScriptHost, call: ScriptCall): Promise<ScriptRun> {
    if (call.signal?.aborted) throw cancelled(call);
    const { argv, env } = ownBash(host.bash, call.script, call.args);
    const process = await host.container.exec(argv, { cwd: '/', env, ...(call.signal && { signal: call.signal }) });
    return new ScriptRun(process, call);
  }

  /** What follows `S ` in the script's first line; rejects with the reason of an `E `. `deadline` in milliseconds. */
  async head(deadline?: number): Promise<string> {
    const line = await this.#within(deadline, this.output.line(headLimit));
    if (line?.startsWith('S')) return line.slice(2);
    if (line?.startsWith('E ')) {
      await this.#end();
      throw this.#failure(line.slice(2));
    }
    throw await this.death();
  }

  /** Waits for the end of a job behind the head, whose output is `mark` and an exit code; rejects with why it failed. */
  async job(mark: string): Promise<void> {
    const body = new MarkedBody(this.output, mark);
    while ((await body.next().catch((error) => this.#fault(error))) !== null);
    if (body.exitCode === 0) return;
    if (body.exitCode === null) throw await this.death();
    await this.finish();
    throw this.#failure('tool');
  }

  #failure(kind: string): AppError {
    return scriptFailure(kind, this.#call.path, this.#stderr, this.#call.others);
  }

  /** Why the script ended without what was due. */
  async death(): Promise<Error> {
    if (this.#call.signal?.aborted) return cancelled(this.#call);
    const exitCode = await this.#end();
    return scriptDeath(exitCode, this.#call.path, this.#stderr);
  }

  /** Tells a script that has said everything to exit; resolves to all it said on stderr. */
  async finish(): Promise<string> {
    await this.input.close().catch(() => {});
    await this.#end().catch(() => {});
    return this.#stderr;
  }

  /** Ends the connection; the script sees the end of its input. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#settled.signal.aborted) return;
    this.#settled.abort();
    await this.#process[Symbol.asyncDispose]();
  }

  /** The exit code, with all of stderr read. */
  async #end(): Promise<number> {
    await this.output.cancel();
    return await this.#within(endLimit, this.#process.wait());
  }

  async #within<T>(deadline: number | undefined, promise: Promise<T>): Promise<T> {
    if (deadline === undefined) return promise.catch((error) => this.#fault(error));
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(tooLate(this.#call.path, deadline)), deadline);
    try {
      return await Promise.race([promise.catch((error) => this.#fault(error)), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #fault(error: unknown): never {
    if (this.#call.signal?.aborted) throw cancelled(this.#call);
    throw error;
  }

  async #drainStderr(): Promise<void> {
    const decoder = new TextDecoder();
    try {
      for await (const chunk of this.#process.stderr) {
        this.#stderr = (this.#stderr + decoder.decode(chunk, { stream: true })).slice(-stderrLimit);
      }
    } catch {
      // The connection's end; stdout tells of it.
    }
  }
}

/** The reason of the abort, where it has words for the caller. */
function cancelled({ path, signal }: ScriptCall): AppError {
  if (signal?.reason instanceof AppError) return signal.reason;
  return new AppError('cancelled', `The work on ${shown(path)} was cancelled.`);
}

function tooLate(path: string, deadline: number): AppError {
  return new AppError('timeout', `The sandbox did not answer about ${shown(path)} within ${deadline / 1000} s.`);
}
