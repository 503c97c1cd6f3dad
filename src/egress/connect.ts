import { Resolver } from 'node:dns/promises';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Resolve } from './gate.ts';

/** Opens a TCP connection to an address; rejects when it does not come about. */
export type Connect = (address: string, port: number) => Promise<Socket>;

const connectTimeout = 10_000;

/** Of its own, so that a sandbox that asks for slow names keeps no thread of this process from its work. */
const resolver = new Resolver({ timeout: 3000, tries: 2 });

/** By the host's resolvers, and by nothing that is written on this host. IPv4 first. */
export const resolveName: Resolve = async (host) => {
  const [four, six] = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]);
  const found = [four, six].flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
  if (found.length === 0 && four.status === 'rejected') throw four.reason;
  return found;
};

export const connectTo: Connect = (address, port) => {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect({ host: address, port, allowHalfOpen: true, noDelay: true });
  const timer = setTimeout(() => socket.destroy(new Error('no answer')), connectTimeout);
  socket.once('error', reject);
  socket.once('connect', () => {
    socket.off('error', reject);
    resolve(socket);
  });
  socket.once('close', () => reject(new Error('closed')));
  return promise.finally(() => clearTimeout(timer));
};

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
