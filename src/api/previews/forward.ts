import { Agent, request as send, type ClientRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import type { Duplex, Readable } from 'node:stream';
import { finished, pipeline } from 'node:stream';
import { detached } from '../../lib/detached.ts';
import type { PortsPort } from '../../sandbox/ports/workspace.ts';
import { pairsOf, valuesOf, type Headers } from './headers.ts';

export interface Outgoing {
  readonly method: string;
  /** With its query, beginning with a slash. */
  readonly path: string;
  /** As `requestHeaders` makes them. */
  readonly headers: Headers;
  readonly body: Readable | undefined;
  /** Bytes of the body where that is known. */
  readonly length: number | undefined;
  readonly signal: AbortSignal;
  /** Milliseconds until the program's headers must have come. */
  readonly headersTimeout: number;
}

export interface Incoming {
  readonly status: number;
  readonly message: string;
  readonly headers: Headers;
  /** Ends with an error where the program breaks off. */
  readonly body: IncomingMessage;
  /** Of an upgrade that the program took. */
  readonly socket?: Duplex;
  readonly head?: Buffer;
}

/** One agent for each port of each running sandbox: its connections end with it. */
const agents = new WeakMap<PortsPort, Map<number, DialAgent>>();

class DialAgent extends Agent {
  readonly #dial: () => Promise<Duplex>;

  constructor(dial: () => Promise<Duplex>) {
    super({ keepAlive: true, maxFreeSockets: 8, timeout: 30_000, scheduling: 'lifo' });
    this.#dial = dial;
  }

  override createConnection(_options: unknown, done?: (error: Error | null, stream: Duplex) => void): undefined {
    detached(this.#connect(done));
  }

  async #connect(done?: (error: Error | null, stream: Duplex) => void): Promise<void> {
    let stream: Duplex;
    try {
      stream = await this.#dial();
    } catch (error) {
      return done?.(error as Error, undefined as unknown as Duplex);
    }
    done?.(null, stream);
  }
}

function agentOf(ports: PortsPort, port: number): DialAgent {
  const known = agents.get(ports) ?? new Map<number, DialAgent>();
  agents.set(ports, known);
  const agent = known.get(port) ?? new DialAgent(() => ports.dial(port));
  known.set(port, agent);
  return agent;
}

/**
 * Sends a request to a program in a sandbox and resolves with the head of its answer, while the body may still be on its
 * way. Rejects with an error whose `code` is a socket's, or `HPE_…` where the program does not speak HTTP/1.
 */
export async function forward(ports: PortsPort, port: number, outgoing: Outgoing): Promise<Incoming> {
  try {
    return await once(ports, port, outgoing);
  } catch (error) {
    // A kept connection may have been closed by the program at the moment it was used again.
    if (!(error as Retriable).retriable || outgoing.signal.aborted) throw error;
    return await once(ports, port, outgoing);
  }
}

interface Retriable extends Error {
  retriable?: boolean;
}

function once(ports: PortsPort, port: number, outgoing: Outgoing): Promise<Incoming> {
  const { promise, resolve, reject } = Promise.withResolvers<Incoming>();
  const { method, path, headers, length, body, signal } = outgoing;
  const chunked = body ? [['Transfer-Encoding', 'chunked']] : [];
  const framing = length === undefined ? chunked : [['Content-Length', String(length)]];
  const out = send({
    agent: agentOf(ports, port),
    method,
    path,
    headers: [...headers, ...framing] as never,
    setDefaultHeaders: false,
    maxHeaderSize: 65_536,
    signal,
  } as RequestOptions);
  const upgrading = valuesOf(headers, 'upgrade').length > 0;
  const timer = setTimeout(() => out.destroy(timedOut()), outgoing.headersTimeout);
  out.once('response', (answer) => resolve(incoming(answer)));
  out.once('upgrade', (answer, socket, head) => {
    if (upgrading) return resolve({ ...incoming(answer), socket, head });
    socket.destroy();
    reject(Object.assign(new Error('the program switched protocols unasked'), { code: 'HPE_UPGRADE' }));
  });
  out.on('error', (error: Retriable) => {
    error.retriable = out.reusedSocket && body === undefined && /^(GET|HEAD|OPTIONS)$/.test(method);
    reject(error);
  });
  detached(promise.finally(() => clearTimeout(timer)).catch(() => {}));
  sendBody(out, body);
  return promise;
}

/** What the visitor still sends when the answer is complete has nowhere to go. */
function sendBody(out: ClientRequest, body: Readable | undefined): void {
  if (!body) return void out.end();
  pipeline(body, out, () => {});
  out.once('close', () => body.resume());
}

function incoming(answer: IncomingMessage): Incoming {
  const { statusCode = 502, statusMessage = '', rawHeaders } = answer;
  // Without a reader of its own an answer that breaks off would end the process.
  finished(answer, () => {});
  return { status: statusCode, message: statusMessage, headers: pairsOf(rawHeaders), body: answer };
}

function timedOut(): Error {
  return Object.assign(new Error('the program sent no headers in time'), { code: 'ETIMEDOUT' });
}
