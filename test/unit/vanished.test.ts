import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { test } from 'node:test';
import { nameOf, silentPeers } from '../../src/api/http/vanished.ts';

const head =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                ';
const row = (port: string, timer: string, repeated: string, asked: number) =>
  `   0: 0100000A:0BB8 0200000A:${port} 01 0000000E:00000000 ${timer}:00000014 ${repeated}     0        ${asked} 7 2 0 20`;

test('a peer is silent that let four timeouts pass, or does not say whether it has room', () => {
  const rows = [
    row('AAA0', '01', '00000003', 0),
    row('AAA1', '01', '00000004', 0),
    row('AAA2', '01', '0000000A', 0),
    row('AAA3', '04', '00000000', 0),
    row('AAA4', '04', '00000000', 1),
    // The kernel's own keepalive, which ends the connection itself.
    row('AAA5', '02', '00000000', 5),
  ];
  const silent = silentPeers([head, ...rows, ''].join('\n'));
  assert.deepEqual(silent, ['0BB8 0200000A:AAA1', '0BB8 0200000A:AAA2', '0BB8 0200000A:AAA4']);
});

for (const [host, address] of [
  ['127.0.0.1', '0000000000000000FFFF00000100007F'],
  ['::1', '00000000000000000000000001000000'],
] as const)
  test(`a connection of ${host} has the name that it has in the kernel’s table`, async () => {
    const server = createServer().listen(0, '::');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const client = connect(port, host);
    const [socket] = (await once(server, 'connection')) as [Socket];
    const hex = (value = 0) => value.toString(16).toUpperCase().padStart(4, '0');
    assert.equal(nameOf(socket), `${hex(port)} ${address}:${hex(client.localPort)}`);
    client.destroy();
    socket.destroy();
    server.close();
  });
