import { createServer, request as send, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

/** One request as it went over the wire. */
export interface Recorded {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** The request's body. */
  readonly sent: string;
  /** The JSON-RPC method, or empty. */
  readonly rpc: string;
  /** Of a tools/call. */
  readonly tool: string;
  readonly started: number;
  status?: number;
  /** Milliseconds from the request's end to the first byte of the answer's body. */
  firstByte?: number;
  /** Milliseconds to the end. */
  took?: number;
  /** Comment lines in the answer's event stream. */
  keepalives: number;
  /** The client hung up before the answer had ended. */
  dropped?: boolean;
  /** The answer's body, its first megabytes. */
  body: string;
}

/** A proxy between Open WebUI and the server that writes down what passes. */
export class Recorder implements AsyncDisposable {
  readonly #server = createServer((request, response) => void this.#pass(request, response));
  readonly entries: Recorded[] = [];
  /** Where requests go. */
  target = '';

  static async start(): Promise<Recorder> {
    const recorder = new Recorder();
    await new Promise<void>((resolve) => recorder.#server.listen(0, '127.0.0.1', resolve));
    return recorder;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What has passed since `mark`, or all. */
  since(mark = 0): Recorded[] {
    return this.entries.slice(mark);
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request);
    const entry = recorded(request, body);
    this.entries.push(entry);
    const to = new URL(request.url ?? '/', this.target);
    const headers = { ...request.headers, host: to.host };
    const outgoing = send(to, { method: request.method, headers, agent: false }, (answer) => {
      entry.status = answer.statusCode ?? 0;
      response.writeHead(entry.status, answer.headers);
      answer.on('data', (chunk: Buffer) => {
        entry.firstByte ??= performance.now() - entry.started;
        entry.keepalives += chunk.toString('latin1').match(/^:/gm)?.length ?? 0;
        if (entry.body.length < 2_000_000) entry.body += chunk.toString('utf8');
      });
      answer.on('end', () => (entry.took = performance.now() - entry.started));
      answer.on('error', () => response.destroy());
      answer.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    response.on('close', () => {
      if (!response.writableFinished) entry.dropped = true;
      outgoing.destroy();
    });
    outgoing.end(body);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function recorded(request: IncomingMessage, body: Buffer): Recorded {
  const message = parse(body) as { method?: string; params?: { name?: string } };
  return {
    method: request.method ?? '',
    path: request.url ?? '',
    headers: request.headers,
    sent: body.toString('utf8'),
    rpc: message.method ?? '',
    tool: message.params?.name ?? '',
    started: performance.now(),
    keepalives: 0,
    body: '',
  };
}

function parse(body: Buffer): unknown {
  try {
    return (JSON.parse(body.toString('utf8')) as unknown) ?? {};
  } catch {
    return {};
  }
}
