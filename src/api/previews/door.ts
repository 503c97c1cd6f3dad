import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http';
import { pipeline, type Duplex } from 'node:stream';
import type { Logger } from 'pino';
import { AppError, errorTable, toAppError } from '../../errors.ts';
import type { Identify } from '../../identity/identity.ts';
import type { AuditSink } from '../../sandbox/intercept/audit/log.ts';
import type { Lease, Sandboxes } from '../../sandbox/sandboxes.ts';
import type { PreviewRow } from '../../state/state.ts';
import { forward, type Incoming } from './forward.ts';
import type { PreviewGauge } from './gauge.ts';
import {
  pairsOf,
  requestHeaders,
  responseHeaders,
  valuesOf,
  type RequestRules,
  type ResponseRules,
} from './headers.ts';
import type { PreviewLinks } from './links.ts';
import { previewPage } from './pages.ts';
import { cookieFor, cookiesOf, placeOf, type Place } from './place.ts';

export interface PreviewDoorOptions {
  readonly links: PreviewLinks;
  readonly gauge: PreviewGauge;
  readonly sandboxes: Pick<Sandboxes, 'held' | 'ownerOf'>;
  readonly identify: Identify;
  readonly log: Logger;
  readonly audit?: AuditSink;
  readonly domain: string | undefined;
  /** Milliseconds. */
  readonly headersTimeout: number;
  readonly idleTimeout: number;
}

/** A visitor who may see the preview. */
interface Visit {
  readonly row: PreviewRow;
  readonly place: Place;
  readonly owner: string;
  /** True where `Authorization` proved something to Berth. */
  readonly proved: boolean;
}

/** An answer that a preview gives in the program's place. */
class Answer extends Error {
  readonly status: number;
  readonly waits: boolean;
  readonly headers: [string, string][];

  constructor(status: number, message: string, { waits = false, headers = [] as [string, string][] } = {}) {
    super(message);
    this.status = status;
    this.waits = waits;
    this.headers = headers;
  }
}

/**
 * Where previews are visited. It stands before the application, on Node's own requests: a program is proxied as bytes,
 * and nothing of Berth's own is served under a preview's name.
 */
export class PreviewDoor {
  readonly #options: PreviewDoorOptions;
  readonly #known = new Set<string>();

  constructor(options: PreviewDoorOptions) {
    this.#options = options;
  }

  /** The place a request is for; undefined leaves it to the application. */
  placeOf(request: IncomingMessage): Place | undefined {
    return placeOf(request, this.#options.domain);
  }

  /** Answers a request. Never rejects. */
  async request(request: IncomingMessage, response: ServerResponse, place: Place): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    try {
      await using held = new AsyncDisposableStack();
      const visit = await this.#visit(request, place);
      const lease = await this.#enter(visit, held);
      const incoming = await this.#forward(request, visit, lease, gone.signal, undefined);
      await this.#answer(request, response, visit, incoming);
      this.#options.gauge.outcome('ok');
    } catch (error) {
      this.#refuse(request, response, place, error);
    }
  }

  /** Answers a request to switch protocols. Never rejects. */
  async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, place: Place): Promise<void> {
    const gone = new AbortController();
    socket.on('error', () => {});
    socket.once('close', () => gone.abort());
    try {
      await using held = new AsyncDisposableStack();
      const visit = await this.#visit(request, place);
      refuseForeign(request, place);
      const lease = await this.#enter(visit, held);
      const incoming = await this.#forward(request, visit, lease, gone.signal, request.headers.upgrade);
      await this.#join(socket, head, visit, incoming);
      this.#options.gauge.outcome('ok');
    } catch (error) {
      const { status, message } = this.#told(error);
      if (socket.writable)
        socket.end(
          `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(message)}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n${message}`,
        );
    }
  }

  async #visit(request: IncomingMessage, place: Place): Promise<Visit> {
    if (!place.path.startsWith('/') && place.path !== '')
      throw new Answer(400, 'A preview takes paths, not whole addresses.');
    if (valuesOf(pairsOf(request.rawHeaders), 'host').length !== 1)
      throw new Answer(400, 'A request must have one Host.');
    const row = this.#options.links.find(place.label);
    const owner = row && (await this.#options.sandboxes.ownerOf(row.handle));
    if (!row || !owner) throw unknown();
    const bearer = await this.#bearer(request);
    if (row.access === 'link') this.#checkLink(request, row, place);
    else if (bearer !== owner.id)
      throw new Answer(401, 'This preview is for its owner: send the key as "Authorization: Bearer <key>".');
    if (place.path === '') throw moved(`${place.prefix}/`);
    return { row, place, owner: owner.id, proved: bearer !== undefined };
  }

  /** Whose a bearer token is, where it is one of Berth's. */
  async #bearer(request: IncomingMessage): Promise<string | undefined> {
    const { authorization } = request.headers;
    if (!authorization?.toLowerCase().startsWith('bearer ')) return undefined;
    const header = (name: string) => valuesOf(pairsOf(request.rawHeaders), name.toLowerCase())[0];
    return await this.#options.identify(header).then(
      ({ principal }) => (principal.refusal === undefined ? principal.id : undefined),
      () => undefined,
    );
  }

  #checkLink(request: IncomingMessage, row: PreviewRow, place: Place): void {
    const { links } = this.#options;
    if (place.token !== undefined) {
      if (!links.isToken(row, 'link', place.token)) throw unknown();
      if (place.prefix !== undefined) return;
      const seconds = Math.max(0, Math.floor((row.expires - Date.now()) / 1000));
      const cookie = cookieFor(place, links.token(row, 'cookie'), seconds);
      if (request.method === 'GET' || request.method === 'HEAD') throw moved(place.path, [['Set-Cookie', cookie]]);
      return;
    }
    if (!cookiesOf(request).some((value) => links.isToken(row, 'cookie', value))) throw unknown();
  }

  /** Takes hold of the running sandbox, and a place among its connections. */
  async #enter({ row, owner }: Visit, held: AsyncDisposableStack): Promise<Lease> {
    const lease = this.#options.sandboxes.held(row.handle);
    if (!lease)
      throw new Answer(503, 'The sandbox of this preview is asleep. The page comes as soon as it runs again.', {
        waits: true,
      });
    held.use(lease);
    held.use(this.#options.gauge.open(row.handle, owner));
    await this.#note(row, 'preview.opened', 'ok');
    return lease;
  }

  /** One line for each preview that is visited, not for each request. */
  async #note(row: PreviewRow, event: string, outcome: string): Promise<void> {
    if (this.#known.has(row.label)) return;
    this.#known.add(row.label);
    if (this.#known.size > 10_000) this.#known.clear();
    await this.#options.audit?.write({ event, sandbox: row.handle, port: row.port, access: row.access, outcome });
  }

  async #forward(
    request: IncomingMessage,
    visit: Visit,
    { workspace }: Lease,
    signal: AbortSignal,
    upgrade: string | undefined,
  ): Promise<Incoming> {
    const { row, place, owner } = visit;
    const { 'content-length': length, 'transfer-encoding': coding } = request.headers;
    const hasBody = coding !== undefined || (length !== undefined && length !== '0');
    const takesBody = !['GET', 'HEAD', 'OPTIONS', 'DELETE', 'TRACE'].includes(request.method ?? 'GET');
    if (hasBody) this.#count(request, owner);
    try {
      return await forward(workspace.ports, row.port, {
        method: request.method ?? 'GET',
        path: place.path,
        headers: requestHeaders(pairsOf(request.rawHeaders), rulesOf(request, visit, upgrade)),
        body: hasBody ? request : undefined,
        length: coding === undefined && length !== undefined ? Number(length) : hasBody || !takesBody ? undefined : 0,
        signal,
        headersTimeout: this.#options.headersTimeout,
      });
    } catch (error) {
      throw asAnswer(error, row.port);
    }
  }

  /** Counts what flows, and ends it where it is too much. */
  #count(stream: Duplex | IncomingMessage, owner: string): void {
    stream.on('data', (chunk: Uint8Array) => {
      if (!this.#options.gauge.moved(owner, chunk.length)) stream.destroy();
    });
    stream.pause();
  }

  async #answer(request: IncomingMessage, response: ServerResponse, visit: Visit, incoming: Incoming): Promise<void> {
    const headers = responseHeaders(incoming.headers, responseRules(visit));
    response.sendDate = false;
    response.writeHead(incoming.status, incoming.message, headers as never);
    if (incoming.socket) return void incoming.socket.destroy();
    if (request.method === 'HEAD') return void response.end();
    response.flushHeaders();
    this.#count(incoming.body, visit.owner);
    const { promise, resolve } = Promise.withResolvers<void>();
    response.setTimeout(this.#options.idleTimeout, () => response.destroy());
    pipeline(incoming.body, response, () => resolve());
    await promise;
  }

  /** Ends when both sides have, or when neither has said anything for too long. */
  async #join(socket: Duplex, head: Buffer, visit: Visit, incoming: Incoming): Promise<void> {
    const headers = responseHeaders(incoming.headers, responseRules(visit));
    const upgraded = incoming.socket !== undefined;
    const ofConnection = upgraded
      ? [
          ['Connection', 'Upgrade'],
          ['Upgrade', valuesOf(incoming.headers, 'upgrade')[0] ?? 'websocket'],
        ]
      : [['Connection', 'close']];
    const lines = [
      ...headers.filter(([name]) => upgraded || name.toLowerCase() !== 'content-length'),
      ...ofConnection,
    ].map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(Buffer.from(`HTTP/1.1 ${incoming.status} ${incoming.message}\r\n${lines.join('')}\r\n`, 'latin1'));
    const inner = incoming.socket ?? incoming.body;
    if (incoming.head?.length) socket.write(incoming.head);
    this.#count(inner, visit.owner);
    const out = Promise.withResolvers<void>();
    pipeline(inner, socket, () => out.resolve());
    if (!incoming.socket) return await out.promise;
    const { socket: program } = incoming;
    if (head.length > 0) program.write(head);
    this.#count(socket, visit.owner);
    const back = Promise.withResolvers<void>();
    pipeline(socket, program, () => back.resolve());
    const idle = Idle.watch([program, socket], this.#options.idleTimeout);
    await Promise.all([out.promise, back.promise]);
    idle[Symbol.dispose]();
  }

  #told(error: unknown): Answer {
    const answer = error instanceof Answer ? error : answerOf(toAppError(error));
    const { gauge, log } = this.#options;
    gauge.outcome(String(answer.status));
    if (answer.status === 500) log.error({ err: error }, 'preview failed');
    return answer;
  }

  #refuse(request: IncomingMessage, response: ServerResponse, place: Place, error: unknown): void {
    const answer = this.#told(error);
    // A body in its midst cannot be followed by anything but its end.
    if (response.headersSent) return void response.destroy();
    const page = previewPage(answer.message, { waits: answer.waits && request.method === 'GET' });
    response.writeHead(answer.status, [...page.headers, ...answer.headers] as never);
    response.end(request.method === 'HEAD' || answer.status === 303 ? undefined : page.body);
    request.resume();
    void place;
  }
}

/** Destroys streams that have been silent together for too long. */
class Idle implements Disposable {
  #timer: NodeJS.Timeout;

  static watch(streams: readonly Duplex[], milliseconds: number): Idle {
    return new Idle(streams, milliseconds);
  }

  private constructor(streams: readonly Duplex[], milliseconds: number) {
    const end = () => streams.forEach((stream) => stream.destroy());
    this.#timer = setTimeout(end, milliseconds).unref();
    for (const stream of streams) stream.on('data', () => this.#timer.refresh());
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

/** The same answer for what never was, what has ended, and what is another's. */
function unknown(): Answer {
  return new Answer(404, 'There is no such preview, or it has ended. Ask for a new link in the chat.');
}

function moved(to: string, headers: [string, string][] = []): Answer {
  return new Answer(303, '', { headers: [['Location', to], ...headers] });
}

/** Another page may not speak through a visitor's cookie: sockets know no other bound. */
function refuseForeign(request: IncomingMessage, place: Place): void {
  const { origin } = request.headers;
  if (origin === undefined || origin.toLowerCase() === `${place.proto}://${place.host}`) return;
  if (place.prefix !== undefined) return;
  throw new Answer(403, 'Only the preview’s own pages may open a socket to it.');
}

function rulesOf(request: IncomingMessage, { row, place, proved }: Visit, upgrade: string | undefined): RequestRules {
  const host = row.host === 'kept' ? place.host : `localhost:${row.port}`;
  return {
    host,
    ...(row.host === 'localhost' && { origin: `http://localhost:${row.port}` }),
    forwarded: {
      for: request.socket.remoteAddress ?? 'unknown',
      host: place.host,
      proto: place.proto,
      ...(place.prefix !== undefined && { prefix: place.prefix }),
    },
    withoutAuthorization: proved || row.access === 'key',
    upgrade,
  };
}

function responseRules({ row, place }: Visit): ResponseRules {
  const origin = `${place.proto}://${place.host}`;
  return { self: `localhost:${row.port}`, origin, ...(place.prefix !== undefined && { prefix: place.prefix }) };
}

function asAnswer(error: unknown, port: number): unknown {
  const { code = '' } = error as NodeJS.ErrnoException;
  if (code === 'ECONNREFUSED')
    return new Answer(503, `Nothing listens on port ${port} yet. The page comes as soon as something does.`, {
      waits: true,
    });
  if (code === 'ETIMEDOUT') return new Answer(504, `The program on port ${port} has not answered in time.`);
  if (error instanceof AppError) return error;
  if (code.startsWith('HPE_')) return new Answer(502, `The program on port ${port} does not speak HTTP/1.`);
  return new Answer(502, `The program on port ${port} broke the connection off.`);
}

function answerOf(error: AppError): Answer {
  const after = error.data['retry_after'];
  const headers: [string, string][] = typeof after === 'number' ? [['Retry-After', String(after)]] : [];
  return new Answer(errorTable[error.code].http, error.message, { headers });
}
