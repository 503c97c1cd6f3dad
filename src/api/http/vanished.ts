import { readFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import ipaddr from 'ipaddr.js';
import { detached } from '../../lib/detached.ts';

/** Where Linux tells how its connections are, a line for each. Other systems have no such place. */
const tables = ['/proc/self/net/tcp', '/proc/self/net/tcp6'];
/** Looks in a row at which a client must be silent. */
const patience = 4;

/**
 * Ends connections whose client has vanished without a word while bytes were on their way to it, within about five
 * `keepalive`s (milliseconds). TCP keepalive does not see those, and the kernel gives up only after a quarter of an hour.
 * A client that is there and does not read stays. Disposing of it ends the looking.
 */
export function reapVanished(server: Server, keepalive: number): Disposable {
  const open = new Map<Socket, number>();
  server.on('connection', (socket: Socket) => {
    open.set(socket, 0);
    socket.once('close', () => open.delete(socket));
  });
  const look = async () => {
    const silent = open.size > 0 ? await silentNow() : new Set();
    for (const [socket, times] of open) {
      const now = silent.size > 0 && silent.has(nameOf(socket)) ? times + 1 : 0;
      open.set(socket, now);
      if (now >= patience) socket.destroy();
    }
  };
  const timer = setInterval(() => detached(look()), keepalive).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

async function silentNow(): Promise<Set<string>> {
  const texts = await Promise.all(tables.map((path) => readFile(path, 'latin1').catch(() => '')));
  return new Set(texts.flatMap(silentPeers));
}

/** The bytes that wait for a connection's peer, in the kernel's own writing; `undefined` where no table tells it. */
export async function queueOf(socket: Socket): Promise<string | undefined> {
  const texts = await Promise.all(tables.map((path) => readFile(path, 'latin1').catch(() => '')));
  return queueIn(texts.join(''), nameOf(socket));
}

/** Of a table of connections, the bytes that wait for the peer of the one with this name. */
export function queueIn(table: string, name: string): string | undefined {
  for (const line of table.split('\n')) {
    const [, local = '', remote, , queue = ''] = line.trim().split(/\s+/);
    if (`${local.split(':')[1]} ${remote}` === name) return queue.split(':')[0];
  }
  return undefined;
}

/**
 * Of a table of connections, those whose peer has not answered to four timeouts in a row, or to being asked for room; as
 * `nameOf` names them.
 */
export function silentPeers(table: string): string[] {
  return table.split('\n').flatMap((line) => {
    const [, local = '', remote, , , timer = '', repeated = '', , asked] = line.trim().split(/\s+/);
    const waitsForRoom = timer.startsWith('04:');
    const silent = waitsForRoom ? Number(asked) > 0 : Number.parseInt(repeated, 16) >= 4;
    return silent ? [`${local.split(':')[1]} ${remote}`] : [];
  });
}

/** `<local port> <remote address>:<port>` in the table's own writing: hexadecimal, an address by swapped words. */
export function nameOf({ localPort, remoteAddress, remotePort }: Socket): string {
  if (remoteAddress === undefined) return '';
  const bytes = ipaddr.parse(remoteAddress).toByteArray();
  const words = Array.from({ length: bytes.length / 4 }, (_, at) => bytes.slice(4 * at, 4 * at + 4).toReversed());
  const address = words.flat().map((byte) => hex(byte, 2));
  return `${hex(localPort, 4)} ${address.join('')}:${hex(remotePort, 4)}`;
}

function hex(value = 0, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, '0');
}
