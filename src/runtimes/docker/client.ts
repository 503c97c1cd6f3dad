import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { inspect } from 'node:util';
import Docker from 'dockerode';
import { AppError } from '../../errors.ts';
import type { EngineAddress } from './address.ts';
import { type Attempt, engineError } from './errors.ts';

/** An engine's API. Every call has a deadline, because docker-modem alone can leave a promise pending for ever. */
export class Engine implements Disposable {
  readonly docker: Docker;
  readonly address: EngineAddress;
  readonly #agent: HttpAgent;
  readonly #deadline: number;

  /** `deadline` in seconds, for each call. */
  constructor(address: EngineAddress, deadline: number) {
    this.address = address;
    this.#deadline = deadline * 1000;
    const agent = address.tls
      ? new HttpsAgent({ keepAlive: true, rejectUnauthorized: address.tls.verify })
      : new HttpAgent({ keepAlive: true });
    // docker-modem describes its options, and so every open connection, at each call, for a log that nobody reads.
    this.#agent = Object.assign(agent, { [inspect.custom]: () => 'Agent' });
    this.docker = new Docker(modemOptions(address, this.#agent));
  }

  /**
   * Runs one call. Rejects with an `AppError`: as `engineError` maps the engine's refusal, `cancelled` when the caller's
   * signal aborts, `engine_unavailable` at the deadline. The signal that `run` gets is dead weight once it has settled.
   */
  async call<T>(attempt: Attempt, run: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    using call = new Call(this.#deadline, signal);
    try {
      return await Promise.race([run(call.signal), call.aborted]);
    } catch (error) {
      throw call.signal.aborted ? call.reason() : engineError(error, attempt);
    }
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}

/** One call's abort: by its caller or its deadline, whichever is first, and by neither after it has settled. */
class Call implements Disposable {
  readonly aborted: Promise<never>;
  readonly signal: AbortSignal;
  readonly #timer: NodeJS.Timeout;
  readonly #caller: AbortSignal | undefined;
  readonly #controller = new AbortController();
  readonly #cancel = () => this.#controller.abort();

  constructor(deadline: number, caller?: AbortSignal) {
    this.signal = this.#controller.signal;
    this.#caller = caller;
    this.aborted = new Promise((_, reject) => (this.signal.onabort = () => reject(this.reason())));
    this.aborted.catch(() => {});
    this.#timer = setTimeout(this.#cancel, deadline);
    caller?.addEventListener('abort', this.#cancel);
    if (caller?.aborted) this.#cancel();
  }

  reason(): AppError {
    if (this.#caller?.aborted) return cancelled(this.#caller);
    return new AppError('engine_unavailable', 'The container engine does not answer.');
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#caller?.removeEventListener('abort', this.#cancel);
  }
}

/** Options with a signal that docker-modem takes everywhere, whatever dockerode's types say. */
export function abortable<T extends object>(options: T, abortSignal: AbortSignal): T {
  return { ...options, abortSignal };
}

/** The error of a call whose signal has aborted. */
export function cancelled(signal: AbortSignal): AppError {
  if (signal.reason instanceof AppError) return signal.reason;
  return new AppError('cancelled', 'The call was cancelled.', { cause: signal.reason });
}

// `host: undefined` keeps docker-modem from taking it out of DOCKER_HOST by itself.
function modemOptions(
  { socketPath, host, port, tls }: EngineAddress,
  agent: HttpAgent,
): Docker.DockerOptions & { agent: HttpAgent } {
  if (socketPath) return { socketPath, host: undefined, port: undefined, protocol: 'http', agent };
  const { ca, cert, key } = tls ?? {};
  return { host, port, protocol: tls ? 'https' : 'http', ca, cert, key, agent };
}
