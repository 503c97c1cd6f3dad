/**
 * Run in a mount and a network namespace of its own: asks the proxy's resolver for a name, moves the host's resolvers,
 * and asks again. Prints both answers.
 */
import { execFileSync } from 'node:child_process';
import { createSocket, type RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { resolveName } from '../../src/egress/connect.ts';

const directory = mkdtempSync(join(tmpdir(), 'berth-resolvers-'));
const file = join(directory, 'resolv.conf');
const move = (address: string) => writeFileSync(file, `nameserver ${address}\n`);

/** Answers every question for an A record with the address given, any other with nothing. */
async function serve(at: string, answer: readonly number[]): Promise<void> {
  const socket = createSocket('udp4');
  socket.on('message', (query: Buffer, from: RemoteInfo) => {
    const end = query.indexOf(0, 12) + 5;
    const isA = query.readUInt16BE(end - 4) === 1;
    const head = Buffer.from([query[0]!, query[1]!, 0x81, 0x80, 0, 1, 0, isA ? 1 : 0, 0, 0, 0, 0]);
    const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...answer]);
    socket.send(Buffer.concat([head, query.subarray(12, end), ...(isA ? [record] : [])]), from.port, from.address);
  });
  await once(socket.bind(53, at), 'listening');
}

execFileSync('ip', ['link', 'set', 'lo', 'up']);
move('127.0.0.2');
execFileSync('mount', ['--bind', file, '/etc/resolv.conf']);
await serve('127.0.0.2', [1, 1, 1, 1]);
await serve('127.0.0.3', [2, 2, 2, 2]);
const before = await resolveName('pypi.test');
move('127.0.0.3');
const after = await resolveName('pypi.test');
rmSync(directory, { recursive: true });
process.stdout.write(JSON.stringify([before, after]));
process.exit();
