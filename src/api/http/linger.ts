import type { IncomingMessage } from 'node:http';
import type { Context } from 'hono';
import type { HttpEnv } from './env.ts';

/** What of a refused upload is read and thrown away, so that its sender gets to see the answer. */
const most = { bytes: 64 * 1024 * 1024, milliseconds: 2000 };

/**
 * A sender that gets no further sees a broken connection before it sees the answer. So a refusal comes when the rest of
 * the body has been read, within bounds; beyond them the connection is closed behind the answer.
 */
export async function answerInFull(c: Context<HttpEnv>, handle: () => Promise<Response>): Promise<Response> {
  const { incoming, outgoing } = c.env;
  try {
    return await handle();
  } finally {
    const whole = incoming === undefined || (await drained(incoming));
    if (!whole && !outgoing?.headersSent) outgoing?.setHeader('connection', 'close');
  }
}

/** Whether the body came to its end. */
async function drained(incoming: IncomingMessage): Promise<boolean> {
  const announced = Number(incoming.headers['content-length'] ?? 0);
  if (incoming.readableEnded || incoming.destroyed || announced > most.bytes) return incoming.readableEnded;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, most.milliseconds);
  let bytes = 0;
  const count = (chunk: Uint8Array) => {
    bytes += chunk.length;
    if (bytes > most.bytes) resolve();
  };
  incoming.on('data', count).once('end', resolve).once('close', resolve);
  await promise;
  clearTimeout(timer);
  incoming.off('data', count);
  return incoming.readableEnded;
}
