import { mkdtempSync, rmSync } from 'node:fs';
import { type IncomingMessage, createServer, request, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { findEngine } from '../../src/runtimes/docker/address.ts';

/**
 * What becomes of one request: passed on (`undefined`), answered with an error, answered with JSON, passed on with the answer
 * cut in the middle of its body, passed on after some seconds, or never answered.
 */
export type Verdict =
  | { readonly status: number; readonly message: string }
  | { readonly answer: unknown }
  | { readonly cut: true }
  | { readonly delay: number }
  | { readonly silence: true }
  | undefined;

export type Judge = (method: string, path: string) => Verdict | Promise<Verdict>;

/** A socket in front of the engine's own, so that a test can be the engine's bad day. */
export class EngineProxy implements AsyncDisposable {
  judge: Judge = () => undefined;
  /** What the engine gets in place of a container's body. */
  rewriteCreate: ((body: any) => unknown) | undefined;
  readonly #dir = mkdtempSync(join(tmpdir(), 'berth-proxy-'));
  readonly #engine = findEngine(process.env).socketPath!;
  readonly #sockets = new Set<Duplex>();
  #server: Server | undefined;

  get path(): string {
    return join(this.#dir, 'engine.sock');
  }

  /** The value for `docker.host`. */
  get host(): string {
    return `unix://${this.path}`;
  }

  async listen(): Promise<void> {
    const server = createServer((incoming, answer) => void this.#serve(incoming, answer));
    server.on('connection', (socket) => this.#keep(socket));
    server.on('upgrade', (incoming, socket, head) => this.#upgrade(incoming, socket, head));
    await new Promise<void>((resolve) => server.listen(this.path, resolve));
    this.#server = server;
  }

  /** As when the engine is stopped: every connection breaks, and none can be made. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    for (const socket of this.#sockets) socket.destroy();
    if (server) await new Promise((resolve) => server.close(resolve));
    rmSync(this.path, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  async #serve(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    const verdict = await this.judge(incoming.method!, incoming.url!);
    const sent = await buffer(incoming);
    const body = this.#rewritten(incoming, sent);
    if (verdict && 'silence' in verdict) return;
    if (verdict && 'status' in verdict) return reply(answer, verdict.status, { message: verdict.message });
    if (verdict && 'answer' in verdict) return reply(answer, 200, verdict.answer);
    if (verdict && 'delay' in verdict) await new Promise((resolve) => setTimeout(resolve, verdict.delay * 1000));
    const outgoing = this.#forward(incoming, (response) => {
      answer.writeHead(response.statusCode!, response.headers);
      answer.flushHeaders();
      if (verdict && 'cut' in verdict) response.once('data', (chunk: Buffer) => this.#cut(answer, chunk));
      else response.pipe(answer);
    });
    outgoing.on('error', () => answer.destroy());
    answer.on('close', () => outgoing.destroy());
    outgoing.end(body);
  }

  #rewritten(incoming: IncomingMessage, sent: Buffer): Buffer {
    if (!this.rewriteCreate || !/\/containers\/create(\?|$)/.test(incoming.url!)) return sent;
    const body = Buffer.from(JSON.stringify(this.rewriteCreate(JSON.parse(sent.toString()))));
    delete incoming.headers['transfer-encoding'];
    incoming.headers['content-length'] = String(body.length);
    return body;
  }

  #cut(answer: ServerResponse, chunk: Buffer): void {
    answer.write(chunk.subarray(0, Math.ceil(chunk.length / 2)), () => answer.destroy());
  }

  #upgrade(incoming: IncomingMessage, client: Duplex, head: Buffer): void {
    const outgoing = this.#forward(incoming, (response) => {
      client.write(`HTTP/1.1 ${response.statusCode} ${response.statusMessage}\r\n${rawHeaders(response)}\r\n`);
      response.pipe(client);
    });
    outgoing.on('upgrade', (response, engine: Socket, first) => {
      this.#keep(engine);
      client.write(`HTTP/1.1 101 UPGRADED\r\n${rawHeaders(response)}\r\n`);
      client.write(first);
      engine.pipe(client).pipe(engine);
      client.on('close', () => engine.destroy());
      engine.on('close', () => client.destroy());
    });
    outgoing.on('error', () => client.destroy());
    void bodyOf(client, head, Number(incoming.headers['content-length'] ?? 0)).then((body) => outgoing.end(body));
  }

  #forward(incoming: IncomingMessage, answered: (response: IncomingMessage) => void) {
    const { method, url: path, headers } = incoming;
    return request({ socketPath: this.#engine, method: method!, path: path!, headers, agent: false }, answered);
  }

  #keep(socket: Duplex): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
  }
}

function reply(answer: ServerResponse, status: number, body: unknown): void {
  answer.writeHead(status, { 'content-type': 'application/json' });
  answer.end(JSON.stringify(body));
}

/** An upgrade's request body, which Node leaves on the socket. */
async function bodyOf(client: Duplex, head: Buffer, length: number): Promise<Buffer> {
  if (head.length > 0) client.unshift(head);
  for (;;) {
    const body: Buffer | null = length === 0 ? Buffer.alloc(0) : client.read(length);
    if (body) return body;
    await once(client, 'readable');
  }
}

function rawHeaders({ rawHeaders: raw }: IncomingMessage): string {
  return Array.from({ length: raw.length / 2 }, (_, at) => `${raw[2 * at]}: ${raw[2 * at + 1]}\r\n`).join('');
}
