import type { AddressInfo } from 'node:net';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { createAdaptorServer, type WebSocketServerLike } from '@hono/node-server';
import type { App } from './served-app.ts';
import { detached } from '../../lib/detached.ts';
import { AppError } from '../../errors.ts';
import type { PreviewDoor } from '../previews/door.ts';
import { Activity } from '../mcp/activity.ts';
import { withoutHops } from './hop-by-hop.ts';
import { withRefusals } from './refused-upgrade.ts';
import { shut } from './shut.ts';
import { socketServer } from './terminal.ts';
import { reapVanished } from './vanished.ts';

export interface HttpServer extends AsyncDisposable {
  readonly port: number;
  /** `http://127.0.0.1:3000`, without a path. */
  readonly url: string;
  /** Gives what is in flight `drain` milliseconds, then closes everything. Idempotent. */
  close(drain?: number): Promise<void>;
}

export interface ListenOptions {
  /** Milliseconds a client has for its request's headers. */
  readonly headersTimeout?: number;
  /** Milliseconds between two words to a silent client. */
  readonly keepalive?: number;
}

/** Serves the app. Rejects with one sentence when the address cannot be had. */
export async function listen(app: App, host: string, port: number, options: ListenOptions = {}): Promise<HttpServer> {
  const sockets = socketServer();
  const { headersTimeout = 15_000, keepalive = 15_000 } = options;
  const serverOptions = {
    headersTimeout,
    // Ten seconds later the kernel ends the connection of a client that has vanished while nothing was on its way to it.
    keepAlive: true,
    keepAliveInitialDelay: keepalive,
    connectionsCheckingInterval: Math.min(headersTimeout, 5000),
    // An upgrade to anything else is served as the plain request it also is; its socket would be nobody's.
    shouldUpgradeCallback: (request: IncomingMessage) => request.headers.upgrade?.toLowerCase() === 'websocket',
  };
  const fetch = withRefusals(withoutHops(app.hono.fetch));
  const server = createAdaptorServer({
    fetch,
    overrideGlobalObjects: false,
    serverOptions,
    websocket: { server: sockets as WebSocketServerLike },
  }) as Server;
  if (app.previews) before(server, app.previews);
  // Uploads may take hours; routes bound their own bodies.
  server.requestTimeout = 0;
  server.keepAliveTimeout = 65_000;
  server.maxHeadersCount = 200;
  const active = new Activity();
  server.on('request', (_request, response) => response.once('close', active.begin()));
  await bind(server, host, port);
  const reaper = reapVanished(server, keepalive);
  server.once('close', () => reaper[Symbol.dispose]());
  const address = server.address() as AddressInfo;
  let closing: Promise<void> | undefined;
  const close = (drain = 0) => (closing ??= shut({ server, sockets, app, active }, drain));
  return {
    port: address.port,
    url: `http://${urlHost(host)}:${address.port}`,
    close,
    [Symbol.asyncDispose]: () => close(),
  };
}

/** Previews stand before the app: they get their requests and upgrades as Node has them; the app gets the others. */
function before(server: Server, previews: PreviewDoor): void {
  const requests = server.listeners('request') as ((request: IncomingMessage, response: ServerResponse) => void)[];
  const upgrades = server.listeners('upgrade') as ((request: IncomingMessage, socket: Duplex, head: Buffer) => void)[];
  server.removeAllListeners('request').removeAllListeners('upgrade');
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const place = previews.placeOf(request);
    if (place) detached(previews.request(request, response, place));
    else for (const listener of requests) listener.call(server, request, response);
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const place = previews.placeOf(request);
    if (place) detached(previews.upgrade(request, socket, head, place));
    else for (const listener of upgrades) listener.call(server, request, socket, head);
  });
}

function bind(server: Server, host: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', (error: NodeJS.ErrnoException) => reject(bindError(error, host, port)));
  server.listen(port, host, resolve);
  return promise;
}

function bindError(error: NodeJS.ErrnoException, host: string, port: number): AppError {
  const why: Record<string, string> = {
    EADDRINUSE: 'another program listens there; stop it or set server.port',
    EACCES: 'this user may not; choose a port above 1023',
    EADDRNOTAVAIL: 'this machine has no such address; set server.host',
    ENOTFOUND: 'that name resolves to no address; set server.host',
  };
  return new AppError('conflict', `Cannot listen on ${host}:${port}: ${why[error.code ?? ''] ?? error.code}.`, {
    cause: error,
  });
}

function urlHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}
