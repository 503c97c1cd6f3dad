import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { Refusal } from './refusal.ts';

/** The first bytes of a connection that Node has let go of; what follows them stays on it. */
export async function readHead(client: Duplex, head: Buffer, length: number): Promise<Buffer> {
  if (head.length > 0) client.unshift(head);
  const patience = AbortSignal.timeout(10_000);
  while (length > 0) {
    const body = client.read(length) as Buffer | null;
    if (body) return whole(body, length);
    if (client.readableEnded || client.destroyed) throw new Refusal('The body ended early.', 400);
    await once(client, 'readable', { signal: patience });
  }
  return Buffer.alloc(0);
}

/** A connection at its end gives what it has. */
function whole(body: Buffer, length: number): Buffer {
  if (body.length < length) throw new Refusal('The body ended early.', 400);
  return body;
}

/** Joins both ways, each as fast as its reader; the end of one way leaves the other open. */
export function join(client: Duplex, engine: Duplex, first: Buffer): void {
  if (first.length > 0) client.write(first);
  client.pipe(engine).pipe(client);
  client.on('close', () => letGo(engine));
  // At a proper end the client gets what is still on its way.
  engine.on('close', () => engine.readableEnded || client.destroy());
}

const flushTime = 5000;

/** The client has gone: what it wrote is for the process, what comes is for nobody. */
function letGo(engine: Duplex): void {
  if (engine.writableLength === 0) return void engine.destroy();
  engine.resume().end(() => engine.destroy());
  const timer = setTimeout(() => engine.destroy(), flushTime).unref();
  engine.on('close', () => clearTimeout(timer));
}
