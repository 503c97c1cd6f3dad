import { chmodSync, chownSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Belongings } from './belongings.ts';
import { EngineSocket, type Outgoing, readAll } from './engine.ts';
import { makePlace, noPlace } from './place.ts';
import type { GuardPolicy } from './policy.ts';
import { withoutNoise } from './query.ts';
import { Refusal } from './refusal.ts';
import { findRoute, type Passed, pathOf, queryOf, type Route } from './routes.ts';
import { join, readHead } from './stream.ts';
import { readTarget, type Target } from './target.ts';
import { detached } from '../lib/detached.ts';

export interface GuardOptions {
  /** Where the guard listens. */
  readonly socket: string;
  /** Numeric owner and group of that socket, which both may use it; absent = the process's own. */
  readonly user?: number;
  readonly group?: number;
  /** The engine's socket. */
  readonly engine: string;
  readonly policy: GuardPolicy;
  /** Hears of each request that was refused. */
  readonly refused: (refusal: { method: string; path: string; message: string; status: number }) => void;
}

/** Listens until disposed. Rejects with an `AppError` when the socket cannot be made. */
export async function startGuard(options: GuardOptions): Promise<AsyncDisposable> {
  const guard = new Guard(options);
  await guard.listen();
  return guard;
}

interface Ready {
  readonly passed: Passed;
  readonly outgoing: Outgoing;
}

/** What of an answer's headers reaches the client. */
const kept = ['content-type', 'api-version', 'content-length'] as const;

class Guard implements AsyncDisposable {
  readonly #options: GuardOptions;
  readonly #engine: EngineSocket;
  readonly #belongings: Belongings;
  readonly #server: Server;
  readonly #sockets = new Set<Duplex>();

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#engine = new EngineSocket(options.engine);
    this.#belongings = new Belongings(this.#engine);
    this.#server = createServer({ headersTimeout: 10_000, requestTimeout: 60_000, keepAliveTimeout: 0 });
    this.#server.on('request', (request, answer) => detached(this.#serve(request, answer)));
    this.#server.on('upgrade', (request, socket, head) => detached(this.#upgrade(request, socket, head)));
    this.#server.on('connection', (socket) => this.#keep(socket));
  }

  async listen(): Promise<void> {
    const { socket, user, group } = this.#options;
    await makePlace(socket);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // Until its mode is set, nobody but this user may connect.
    const before = process.umask(0o177);
    this.#server.once('error', (error) => reject(noPlace(socket, error))).listen(socket, resolve);
    process.umask(before);
    await promise;
    if (user !== undefined || group !== undefined) chownSync(socket, user ?? -1, group ?? -1);
    chmodSync(socket, 0o660);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((done) => this.#server.close(done));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
    this.#engine[Symbol.dispose]();
  }

  async #serve(request: IncomingMessage, answer: ServerResponse): Promise<void> {
    try {
      const { route, name, target } = find(request, false);
      const body = await readAll(request, route.longest);
      await this.#forward(await this.#ready(route, { name, target, body }), answer);
    } catch (error) {
      if (!answer.destroyed) this.#refuse(request, error, (status, json) => reply(answer, status, json));
    }
  }

  async #ready(route: Route, { name, target, body }: { name: string; target: Target; body: Buffer }): Promise<Ready> {
    const { policy } = this.#options;
    const query = queryOf(route, target.query);
    const asked = { name, query, body: withoutNoise(parse(body)), policy, belongings: this.#belongings };
    const passed = await route.pass(asked);
    const path = pathOf(passed, target.version);
    return { passed, outgoing: { method: route.method, path, ...(passed.body && { body: passed.body }) } };
  }

  async #forward({ passed, outgoing }: Ready, answer: ServerResponse): Promise<void> {
    // Whoever has gone wants nothing more, and nobody would end what waits for ever.
    if (answer.destroyed) return;
    const sent = this.#engine.send(outgoing);
    answer.on('close', () => sent.destroy());
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    sent.on('response', resolve).on('error', reject);
    const response = await promise;
    if (passed.answer && response.statusCode === 200) {
      const json: unknown = JSON.parse((await readAll(response, longestJson)).toString());
      return reply(answer, 200, passed.answer(json));
    }
    answer.writeHead(response.statusCode ?? 502, headersOf(response));
    answer.flushHeaders();
    await pipeline(response, answer).catch(() => answer.destroy());
  }

  async #upgrade(request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    try {
      const { route, name, target } = find(request, true);
      const body = await readHead(client, head, bodyLength(request, route.longest));
      const { outgoing } = await this.#ready(route, { name, target, body });
      await this.#hijack(outgoing, client);
    } catch (error) {
      if (client.destroyed) return;
      this.#refuse(request, error, (status, json) => client.end(rawReply(status, JSON.stringify(json))));
    }
  }

  async #hijack(outgoing: Outgoing, client: Duplex): Promise<void> {
    if (client.destroyed) return;
    const sent = this.#engine.send(outgoing, { upgrade: true });
    client.on('close', () => sent.destroy());
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    sent.on('error', reject);
    sent.on('response', (response) => detached(this.#answered(response, client).then(resolve, reject)));
    sent.on('upgrade', (response, engine: Socket, first: Buffer) => {
      this.#keep(engine);
      const type = String(response.headers['content-type'] ?? 'application/vnd.docker.raw-stream');
      client.write(`HTTP/1.1 101 UPGRADED\r\nContent-Type: ${type}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`);
      join(client, engine, first);
      resolve();
    });
    await promise;
  }

  /** The engine has refused to make it a stream. */
  async #answered(response: IncomingMessage, client: Duplex): Promise<void> {
    const text = await readAll(response, longestError);
    const status = response.statusCode ?? 502;
    client.end(rawReply(status === 200 ? 502 : status, text.toString()));
  }

  #refuse(request: IncomingMessage, error: unknown, answer: (status: number, json: object) => void): void {
    const known = error instanceof Refusal;
    const { status, message } = known ? error : new Refusal('The engine does not answer.', 502);
    const method = String(request.method).slice(0, 16);
    const path = String(request.url).split('?', 1)[0]?.slice(0, 200) ?? '';
    if (status !== 404) this.#options.refused({ method, path, message: known ? message : String(error), status });
    answer(status, { message });
  }

  #keep(socket: Duplex): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#sockets.delete(socket));
  }
}

const longestJson = 64 * 1024 ** 2;
const longestError = 1024 ** 2;

function find(request: IncomingMessage, upgrade: boolean): { route: Route; name: string; target: Target } {
  const target = readTarget(request.url ?? '');
  const { route, name } = findRoute(request.method ?? '', target.path);
  if ((route.upgrade ?? false) !== upgrade) throw new Refusal('Only streams of processes are streams.');
  return { route, name, target };
}

/** An upgrade's body has a length, or there is none. */
function bodyLength({ headers }: IncomingMessage, most: number): number {
  const { 'content-length': length = '0', 'transfer-encoding': encoding } = headers;
  if (encoding !== undefined || !/^\d{1,7}$/.test(length)) throw new Refusal('The body has no length.', 411);
  if (Number(length) > most) throw new Refusal('The body is too long.', 413);
  return Number(length);
}

function parse(body: Buffer): unknown {
  if (body.length === 0) return undefined;
  try {
    return JSON.parse(body.toString('utf8')) as unknown;
  } catch {
    throw new Refusal('The body is no JSON.', 400);
  }
}

function headersOf({ headers }: IncomingMessage): Record<string, string> {
  return Object.fromEntries(
    kept.flatMap((name) => (headers[name] === undefined ? [] : [[name, String(headers[name])]])),
  );
}

function reply(answer: ServerResponse, status: number, body: unknown): void {
  if (answer.headersSent) return void answer.destroy();
  // What is left of a body that was too long is not read.
  answer.writeHead(status, { 'content-type': 'application/json', ...(status === 413 && { connection: 'close' }) });
  answer.end(JSON.stringify(body));
}

function rawReply(status: number, text: string): string {
  const type = 'Content-Type: application/json\r\nConnection: close';
  return `HTTP/1.1 ${status} Refused\r\n${type}\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
}
