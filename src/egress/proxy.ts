import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type Duplex, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Logger } from '../log.ts';
import { atMost, type Connect, connectFirst, tooMany } from './connect.ts';
import type { Decision, Gate } from './gate.ts';
import { hasBody, passedOn } from './headers.ts';
import type { Ledger } from './ledger.ts';
import { Pace } from './pace.ts';
import { parseAuthority, parseForward, showTarget, type Target } from './target.ts';
import { Turns } from './turns.ts';
import { detached } from '../lib/detached.ts';

export interface ProxyParts {
  readonly gate: Gate;
  readonly ledger: Ledger;
  readonly connect: Connect;
  readonly log: Logger;
}

/** One sandbox's, to here; and as many from here, whatever comes over the former. */
const maxConnections = 128;
const idle = 600_000;
const limits = { maxHeaderSize: 16 * 1024, headersTimeout: 30_000, requestTimeout: 0 };

/** One sandbox's proxy: HTTP requests with an absolute URL, and CONNECT. */
export function createProxy(parts: ProxyParts): Server {
  const proxy = new Proxy(parts);
  const turns = new WeakMap<Duplex, Turns>();
  // What Node answers by itself (no Host, an Expect it does not know) takes no turn, and may wait in any number.
  const server = createServer({ ...limits, requireHostHeader: false });
  const forward = (req: IncomingMessage, res: ServerResponse) =>
    turns.get(req.socket)?.take(() => proxy.forward(req, res));
  server.maxConnections = maxConnections;
  server.timeout = idle;
  server.on('connection', (socket) => turns.set(socket, new Turns(socket)));
  server.on('request', forward);
  server.on('checkExpectation', forward);
  // Behind a CONNECT nobody reads, so that the client of what is before it could leave unseen. No client sends it so.
  server.on('connect', (req, socket, head) =>
    turns.get(socket)?.idle ? detached(proxy.tunnel(req, socket, head)) : socket.destroy(),
  );
  server.on('upgrade', (_req, socket) => socket.destroy());
  server.on('clientError', (_error, socket) => socket.destroy());
  return server;
}

class Proxy {
  readonly #parts: ProxyParts;
  readonly #connect: Connect;
  /** Apart, so that a flood of one kind hides nothing of the other. */
  readonly #paces = { allowed: new Pace(), denied: new Pace(), failed: new Pace() };

  constructor(parts: ProxyParts) {
    this.#parts = parts;
    this.#connect = atMost(maxConnections, parts.connect);
  }

  /** Resolves when the answer has gone, and with it what told whether the connection goes on. */
  async forward(req: IncomingMessage, res: ServerResponse): Promise<void> {
    res.on('error', () => {});
    await this.#forward(req, res);
    await closed(res);
  }

  async #forward(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const target = parseForward(req.url ?? '');
    if (!target) return answer(res, 400, 'This is a proxy: it takes absolute http URLs and CONNECT host:port.');
    const upstream = await this.#open(target);
    if (!(upstream instanceof Refusal)) return await this.#exchange(req, res, { ...target, upstream });
    answer(res, upstream.status, upstream.message);
  }

  async tunnel(req: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    client.on('error', () => {});
    const target = parseAuthority(req.url ?? '');
    const upstream = target ? await this.#open(target) : new Refusal(400, 'CONNECT takes host:port.');
    if (upstream instanceof Refusal) return void client.end(tunnelAnswer(upstream));
    client.write('HTTP/1.1 200 Connection established\r\n\r\n');
    if (head.length > 0) client.unshift(head);
    upstream.setTimeout(idle, () => upstream.destroy());
    await Promise.allSettled([
      pipeline(client, this.#counter(), upstream).catch(() => void [client, upstream].map((end) => end.destroy())),
      pipeline(upstream, this.#counter(), client).catch(() => void [client, upstream].map((end) => end.destroy())),
    ]);
  }

  /** A connection to where the sandbox may go, or why there is none. */
  async #open(target: Target): Promise<Socket | Refusal> {
    const { gate, ledger } = this.#parts;
    try {
      const decision: Decision = ledger.exhausted ? usedUp(target) : await gate.decide(target);
      this.#tell(target, decision);
      if (!decision.allowed) return new Refusal(403, decision.message);
      const upstream = await connectFirst(decision.addresses, target.port, this.#connect);
      upstream.on('error', () => {});
      return upstream;
    } catch (err) {
      return this.#failed(target, reasonOf(err));
    }
  }

  #failed(target: Target, reason: string): Refusal {
    const shown = showTarget(target);
    const message = `${shown} could not be reached: ${reason}.`;
    this.#parts.ledger.deny({ target: shown, message });
    const skipped = this.#paces.failed.skipped();
    const more = skipped ? { skipped } : {};
    if (skipped !== undefined) this.#parts.log.warn({ event: 'egress.failed', target: shown, reason, ...more });
    return new Refusal(502, message);
  }

  #tell(target: Target, decision: Decision): void {
    const { ledger, log } = this.#parts;
    const shown = showTarget(target);
    if (!decision.allowed) ledger.deny({ target: shown, message: decision.message });
    const skipped = this.#paces[decision.allowed ? 'allowed' : 'denied'].skipped();
    if (skipped === undefined) return;
    const more = skipped > 0 ? { skipped } : {};
    if (decision.allowed) log.info({ event: 'egress.allowed', target: shown, address: decision.addresses[0], ...more });
    else log.warn({ event: 'egress.denied', target: shown, rule: decision.rule, ...more });
  }

  async #exchange(
    req: IncomingMessage,
    res: ServerResponse,
    { host, port, path, upstream }: Target & { path: string; upstream: Socket },
  ): Promise<void> {
    const headers = {
      ...passedOn(req.headers),
      host: port === 80 ? host : showTarget({ host, port }),
      connection: 'close',
    };
    const sent = request({ method: req.method, path, headers, setHost: false, createConnection: () => upstream });
    // Node frames no body of a GET by itself, and an unframed one is the next request to whoever reads it.
    if (hasBody(req.headers)) sent.useChunkedEncodingByDefault = true;
    const abort = () => void [sent, upstream].map((end) => end.destroy());
    res.once('close', abort);
    const answered = Promise.withResolvers<IncomingMessage>();
    sent.once('response', answered.resolve).once('error', answered.reject);
    sent.setTimeout(idle, () => sent.destroy());
    // With a CONNECT behind it, Node ends no request whose connection ended while this dialled.
    if (res.closed) abort();
    try {
      // An answer may come before the whole request has gone; a request that breaks off breaks the answer, too.
      pipeline(req, this.#counter(), sent).catch(() => {});
      const reply = await answered.promise;
      res.writeHead(reply.statusCode ?? 502, passedOn(reply.headers));
      await pipeline(reply, this.#counter(), res);
    } catch (err) {
      if (res.headersSent) res.destroy();
      else answer(res, 502, `${showTarget({ host, port })} ended the exchange: ${reasonOf(err)}.`);
    } finally {
      abort();
      // Until then it counts: the connection's next request could find no room.
      await closed(upstream);
    }
  }

  /** Passes bytes on until there are no more to spend. */
  #counter(): Transform {
    const { ledger } = this.#parts;
    return new Transform({
      transform: (chunk: Buffer, _encoding, done) =>
        ledger.spend(chunk.length) ? done(null, chunk) : done(new Error('the limit of bytes is used up')),
    });
  }
}

/** An answer in place of a connection. */
class Refusal {
  readonly status: 400 | 403 | 502;
  readonly message: string;

  constructor(status: 400 | 403 | 502, message: string) {
    this.status = status;
    this.message = message;
  }
}

async function closed(stream: Socket | ServerResponse): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (stream.closed) resolve();
  else stream.once('close', () => resolve());
  await promise;
}

function usedUp(target: Target): Decision {
  const message = `${showTarget(target)} was refused: this sandbox has used up the bytes it may exchange with the network.`;
  return { allowed: false, rule: 'bytes', message };
}

function answer(res: ServerResponse, status: number, message: string): void {
  if (res.destroyed) return;
  res.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' }).end(`${message}\n`);
}

const phrases = { 400: 'Bad Request', 403: 'Forbidden', 502: 'Bad Gateway' } as const;

function tunnelAnswer({ status, message }: Refusal): string {
  const body = `${message}\n`;
  const head = [
    `HTTP/1.1 ${status} ${phrases[status]}`,
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ];
  return `${head.join('\r\n')}\r\n\r\n${body}`;
}

const nameErrors: ReadonlySet<string> = new Set([
  'ENOTFOUND',
  'ENODATA',
  'ESERVFAIL',
  'ETIMEOUT',
  'EREFUSED',
  'EBADNAME',
]);

/** An error's code, where it has one: nothing of this host is told. */
function reasonOf(error: unknown): string {
  const first = error instanceof AggregateError ? error.errors.find((one) => one?.code) : error;
  const { code } = (first ?? {}) as NodeJS.ErrnoException;
  if (code === tooMany) return `this sandbox has ${maxConnections} connections open, and may have no more`;
  if (typeof code === 'string' && nameErrors.has(code)) return 'its name cannot be resolved';
  return typeof code === 'string' ? code : 'it does not answer';
}
