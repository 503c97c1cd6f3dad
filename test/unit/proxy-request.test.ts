import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { proxyRequest } from '../../src/api/previews/proxy-request.ts';
import { noPorts } from '../../src/sandbox/session/wire/dials.ts';

test('a request goes to the program and its answer comes back confined', async () => {
  const program = createServer((request, response) => {
    void text(request).then((body) => {
      response.writeHead(201, { 'set-cookie': 'a=1', location: '/there', 'x-own': 'yes' });
      response.end(JSON.stringify({ url: request.url, headers: request.headers, body }));
    });
  }).listen(0, '127.0.0.1');
  await once(program, 'listening');
  const { port } = program.address() as AddressInfo;
  const ports = {
    ...noPorts,
    dial: async () => {
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      return socket;
    },
  };
  const request = new Request('http://berth.example/open-terminal/proxy/8000/x?y=1', {
    method: 'POST',
    body: 'hello',
    headers: { authorization: 'Bearer secret', cookie: 'berth-preview=x; own=1' },
  });
  const prefix = '/open-terminal/proxy/8000';
  const answer = await proxyRequest(request, { ports, port: 8000, path: '/x?y=1', prefix, headersTimeout: 5000 });
  const seen = (await answer.json()) as { url: string; headers: Record<string, string>; body: string };
  assert.deepEqual([answer.status, seen.url, seen.body], [201, '/x?y=1', 'hello']);
  assert.deepEqual([seen.headers['authorization'], seen.headers['cookie']], [undefined, 'own=1']);
  assert.deepEqual([seen.headers['host'], seen.headers['x-forwarded-prefix']], ['localhost:8000', prefix]);
  assert.deepEqual(
    [answer.headers.get('set-cookie'), answer.headers.get('location'), answer.headers.get('x-own')],
    [null, `${prefix}/there`, 'yes'],
  );
  assert.match(answer.headers.get('content-security-policy') ?? '', /^sandbox /);
  program.close();
  program.closeAllConnections();
});
