import type { Server } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WebSocketServer } from 'ws';
import type { App } from './served-app.ts';
import type { Activity } from '../mcp/activity.ts';

export interface Serving {
  readonly server: Server;
  readonly sockets: WebSocketServer;
  readonly app: App;
  /** The requests being answered. */
  readonly active: Activity;
}

/** Milliseconds that answers get to leave after all is over. */
const parting = 250;

/**
 * Ends the serving: tool calls first, while `/ready` still answers; then sessions with their streams, and terminals;
 * then, with what is left of `drain` milliseconds, transfers.
 */
export async function shut({ server, sockets, app, active }: Serving, drain: number): Promise<void> {
  const deadline = performance.now() + drain;
  await app.drain(drain);
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  await app[Symbol.asyncDispose]();
  for (const socket of sockets.clients) socket.close(1001, 'the server is shutting down');
  const left = Math.max(parting, deadline - performance.now());
  await Promise.race([active.idle(), sleep(left, undefined, { ref: false })]);
  for (const socket of sockets.clients) socket.terminate();
  server.closeAllConnections();
  await closed;
}
