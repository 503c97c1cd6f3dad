import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';

/** What the adaptor hands over beside a request. */
interface Exchange {
  readonly incoming?: { readonly socket: Socket };
  readonly outgoing?: unknown;
}

type Fetch = (request: Request, exchange: Exchange) => Response | Promise<Response>;

/** Headers of the connection, which are written here. */
const ofConnection = new Set(['connection', 'content-length', 'keep-alive', 'transfer-encoding', 'upgrade']);

/**
 * Answers a refused upgrade whole: the adaptor would send its status and headers alone. A request to upgrade is one without
 * an `outgoing`.
 */
export function withRefusals(fetch: Fetch): Fetch {
  return (request, exchange) =>
    exchange.outgoing === undefined ? refusing(fetch, request, exchange) : fetch(request, exchange);
}

async function refusing(fetch: Fetch, request: Request, exchange: Exchange): Promise<Response> {
  const response = await fetch(request, exchange);
  const socket = exchange.incoming?.socket;
  if (response.status < 400 || socket === undefined || socket.destroyed) return response;
  await sendLast(socket, await wholeOf(response.clone()));
  return response;
}

async function wholeOf(response: Response): Promise<Buffer> {
  const body = await response.bytes();
  const { status } = response;
  const headers = [...response.headers].filter(([name]) => !ofConnection.has(name));
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    'Connection: close',
    `Content-Length: ${body.length}`,
    ...headers.map(([name, value]) => `${name}: ${value}`),
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), body]);
}

/** Leaves the socket destroyed: that keeps the adaptor from answering, too. */
async function sendLast(socket: Socket, bytes: Buffer): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.once('close', resolve).resume();
  socket.end(bytes, () => resolve());
  await promise;
  socket.destroy();
}
