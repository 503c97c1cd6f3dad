import { Resolver } from 'node:dns/promises';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Resolve } from './gate.ts';

/** Opens a TCP connection to an address; rejects when it does not come about. */
export type Connect = (address: string, port: number) => Promise<Socket>;

const connectTimeout = 10_000;

/**
 * By the host's resolvers as they are now, and by nothing that is written on this host. IPv4 first. A resolver reads
 * the host's settings when it is made, and takes no thread of this process from its work.
 */
export const resolveName: Resolve = async (host) => {
  const resolver = new Resolver({ timeout: 3000, tries: 2 });
  const [four, six] = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]);
  const found = [four, six].flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
  if (found.length === 0 && four.status === 'rejected') throw four.reason;
  return found;
};

export const connectTo: Connect = (address, port) => {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect({ host: address, port, allowHalfOpen: true, noDelay: true });
  const timer = setTimeout(() => socket.destroy(new Error('no answer')), connectTimeout);
  const closed = () => reject(new Error('closed'));
  socket.once('error', reject).once('close', closed);
  socket.once('connect', () => {
    socket.off('error', reject).off('close', closed);
    resolve(socket);
  });
  return promise.finally(() => clearTimeout(timer));
};

/** The code of the error of a connection beyond the most. */
export const tooMany = 'ETOOMANY';

/** Opens so many connections at a time, those counted that are still being opened or closed. */
export function atMost(most: number, connect: Connect): Connect {
  let open = 0;
  return async (address, port) => {
    if (open === most) throw Object.assign(new Error('too many connections'), { code: tooMany });
    open += 1;
    const leave = () => (open -= 1);
    try {
      return (await connect(address, port)).once('close', leave);
    } catch (err) {
      leave();
      throw err;
    }
  };
}

/** The first of the addresses that answers, each given a head start before the next. */
export async function connectFirst(addresses: readonly string[], port: number, connect: Connect): Promise<Socket> {
  const headStart = 300;
  let won = false;
  const attempts = addresses.slice(0, 8).map(async (address, at) => {
    await sleep(at * headStart);
    if (won) throw new Error('another was first');
    const socket = await connect(address, port);
    if (won) socket.destroy();
    won = true;
    return socket;
  });
  return await Promise.any(attempts);
}
