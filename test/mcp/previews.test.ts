import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, suite, test } from 'node:test';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { WebSocket } from 'ws';
import { ServerProcess } from '../support/server-process.ts';

const keys = { ann: 'ann-has-a-key-of-her-own', bob: 'bob-has-a-key-of-his-own' };

/** A program that is all that a preview may meet. */
const program = String.raw`
import asyncio, base64, hashlib, json, socket, struct
BIG = 256 << 20
async def head(reader):
    lines = (await reader.readuntil(b'\r\n\r\n')).decode('latin1').split('\r\n')
    method, path, _ = lines[0].split(' ', 2)
    return method, path, [line.split(': ', 1) for line in lines[1:] if line]
async def body(reader, headers):
    values = {name.lower(): value for name, value in headers}
    if values.get('transfer-encoding') == 'chunked':
        count = 0
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
            count += size
        await reader.readline()
        return count
    left = count = int(values.get('content-length', 0))
    while left: left -= len(await reader.read(min(left, 65536)))
    return count
def answer(text, extra='', status='200 OK'):
    data = text.encode()
    return (f'HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n{extra}\r\n').encode() + data
async def serve(reader, writer):
    try:
        while True:
            method, path, headers = await head(reader)
            values = {name.lower(): value for name, value in headers}
            if path.startswith('/echo'):
                writer.write(answer(json.dumps({'method': method, 'path': path, 'headers': headers, 'body': await body(reader, headers)})))
            elif path == '/big':
                writer.write(f'HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n'.encode())
                for _ in range(BIG >> 16):
                    writer.write(bytes(65536)); await writer.drain()
            elif path == '/sse':
                writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n'); await writer.drain()
                await asyncio.sleep(0.3)
                writer.write(b'data: two\n\n'); await writer.drain()
                break
            elif path == '/early':
                writer.write(b'HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno'); await writer.drain()
                break
            elif path == '/old':
                writer.write(b'HTTP/1.0 200 OK\r\n\r\nold'); await writer.drain()
                break
            elif path == '/reset':
                writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf'); await writer.drain()
                writer.get_extra_info('socket').setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                break
            elif path == '/smuggle':
                writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nowned'); await writer.drain()
                break
            elif path == '/garbage':
                writer.write(b'SSH-2.0-nothing\r\n'); await writer.drain()
                break
            elif path == '/unasked':
                writer.write(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n'); await writer.drain()
                break
            elif path == '/hostile':
                writer.write(answer('x', 'Set-Cookie: a=1; Domain=localhost; Path=/\r\nSet-Cookie: berth-preview=stolen\r\nSet-Cookie: __Host-Berth-Preview=stolen\r\nStrict-Transport-Security: max-age=9\r\nClear-Site-Data: "*"\r\nAlt-Svc: h2=":1"\r\nX-Own: yes\r\nConnection: X-Own\r\nLocation: http://localhost:8000/there?a=b\r\n'))
            elif path == '/ws':
                key = base64.b64encode(hashlib.sha1((values['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').encode()).digest()).decode()
                writer.write(f'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {key}\r\n\r\n'.encode())
                while True:
                    a, b = await reader.readexactly(2)
                    if a & 15 == 8: break
                    mask, data = await reader.readexactly(4), await reader.readexactly(b & 127)
                    plain = bytes(c ^ mask[i % 4] for i, c in enumerate(data))
                    writer.write(bytes([a, len(plain)]) + plain); await writer.drain()
                break
            else:
                writer.write(answer(f'hello from {path}'))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError): pass
    finally: writer.close()
async def main():
    await asyncio.start_server(serve, '127.0.0.1', 8000, backlog=1000)
    print('ready', flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
`;

interface Reply {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

suite('previews of a sandbox without a network', () => {
  let server: ServerProcess;
  let ann: Client;
  let bob: Client;
  let link: URL;
  let cookie = '';

  const client = async (key: string): Promise<Client> => {
    const made = new Client({ name: 'test', version: '1' });
    const headers = { authorization: `Bearer ${key}` };
    await made.connect(new StreamableHTTPClientTransport(new URL(`${server.url}/mcp`), { requestInit: { headers } }));
    return made;
  };

  const call = async (who: Client, name: string, args: Record<string, unknown>) => {
    const result = await who.callTool({ name, arguments: args });
    const [first] = result.content as { text?: string }[];
    return { text: first?.text ?? '', fields: (result.structuredContent ?? {}) as Record<string, unknown> };
  };

  const start = async (who: Client) =>
    await call(who, 'execute_command', {
      command: `cat > p.py <<'END'\n${program}\nEND\ncoproc python3 p.py; read -r <&"\${COPROC[0]}"`,
    });

  const share = async (who: Client, more: Record<string, unknown> = {}) =>
    new URL(String((await call(who, 'share_port', { port: 8000, ...more })).fields['url']));

  /** A request to a preview's origin; names below `localhost` lead to the loopback. */
  const open = async (
    url: URL | string,
    options: { method?: string; headers?: OutgoingHttpHeaders; body?: Buffer } = {},
  ): Promise<IncomingMessage> => {
    const { host, port, pathname, search } = new URL(url);
    const { body, ...rest } = options;
    const out = request({
      host: '127.0.0.1',
      port,
      path: pathname + search,
      agent: false,
      ...rest,
      headers: { host, ...options.headers },
    });
    out.on('error', () => {});
    out.end(body);
    const [answer] = (await once(out, 'response')) as [IncomingMessage];
    return answer;
  };

  const get = async (url: URL | string, options: Parameters<typeof open>[1] = {}): Promise<Reply> => {
    const answer = await open(url, options);
    return { status: answer.statusCode ?? 0, headers: answer.headers, body: await text(answer) };
  };

  const at = (path: string) => new URL(path, link.origin);
  const visit = (path: string, options: Parameters<typeof open>[1] = {}) =>
    get(at(path), { ...options, headers: { cookie, ...options.headers } });

  const enter = async (url: URL): Promise<string> => {
    const { status, headers } = await get(url);
    assert.equal(status, 303);
    return String(headers['set-cookie']?.[0]).split(';')[0] ?? '';
  };

  const raw = async (bytes: string): Promise<string> => {
    const socket: Socket = connect(Number(link.port), '127.0.0.1');
    socket.end(bytes);
    return await text(socket);
  };

  before(async () => {
    server = await ServerProcess.start({ BERTH_AUTH__KEYS: `ann=${keys.ann},bob=${keys.bob}` });
    [ann, bob] = [await client(keys.ann), await client(keys.bob)];
    const { text: said } = await start(ann);
    assert.match(said, /port 8000 now listens \(python3\); share_port/);
    await start(bob);
    link = await share(ann);
    cookie = await enter(link);
  });

  after(async () => {
    for (const each of [ann, bob]) await each?.close();
    await server?.[Symbol.asyncDispose]();
  });

  test('the first visit turns the link into a cookie of its origin and a clean address', async () => {
    assert.match(link.hostname, /^[a-z2-7]{26}\.localhost$/);
    const { status, headers } = await get(link);
    assert.deepEqual([status, headers.location], [303, '/']);
    assert.match(
      String(headers['set-cookie']),
      /^berth-preview=[\w-]{22}; Path=\/; HttpOnly; Max-Age=3\d\d\d; SameSite=Lax$/,
    );
    assert.equal((await visit('/page?a=1')).body, 'hello from /page?a=1');
  });

  test('the program sees its own host, who asks, and nothing of Berth’s', async () => {
    const { body } = await visit('/echo', {
      headers: {
        cookie: `own=1; ${cookie}; __Host-berth-preview=x`,
        authorization: `Bearer ${keys.ann}`,
        'x-forwarded-for': '6.6.6.6',
        forwarded: 'for=6.6.6.6',
        connection: 'close, x-secret',
        'x-secret': '1',
        origin: link.origin,
      },
    });
    const seen = JSON.parse(body) as { headers: [string, string][] };
    const headers = Object.fromEntries(seen.headers.map(([name, value]) => [name.toLowerCase(), value]));
    assert.equal(headers['host'], 'localhost:8000');
    assert.equal(headers['origin'], 'http://localhost:8000');
    assert.equal(headers['cookie'], 'own=1');
    assert.deepEqual(
      [headers['authorization'], headers['forwarded'], headers['x-secret']],
      [undefined, undefined, undefined],
    );
    assert.deepEqual(
      [headers['x-forwarded-for'], headers['x-forwarded-host'], headers['x-forwarded-proto']],
      ['127.0.0.1', link.host, 'http'],
    );
  });

  test('what the program sets stays in its origin', async () => {
    const { headers } = await visit('/hostile');
    assert.deepEqual(headers['set-cookie'], ['a=1; Path=/']);
    for (const name of ['strict-transport-security', 'clear-site-data', 'alt-svc', 'x-own'])
      assert.equal(headers[name], undefined, name);
    assert.equal(headers.location, `${link.origin}/there?a=b`);
  });

  test('bodies of any kind, HTTP/1.0, an answer before the body was read, events as they come', async () => {
    const body = Buffer.alloc(3_000_000);
    assert.match((await visit('/echo', { method: 'PUT', body })).body, /"body": 3000000/);
    assert.match(
      (await visit('/echo', { method: 'POST', body, headers: { 'transfer-encoding': 'chunked' } })).body,
      /"body": 3000000/,
    );
    assert.match((await visit('/echo', { method: 'DELETE' })).body, /"method": "DELETE".*"body": 0/);
    assert.equal((await visit('/old')).body, 'old');
    const early = await visit('/early', { method: 'POST', body: Buffer.alloc(20_000_000) });
    assert.deepEqual([early.status, early.body], [413, 'no']);
    const events = await open(at('/sse'), { headers: { cookie } });
    const [first] = (await once(events, 'data')) as [Buffer];
    assert.equal(String(first), 'data: one\n\n');
    assert.equal(await text(events), 'data: two\n\n');
  });

  test('a program that breaks off, speaks nonsense or two lengths', async () => {
    const reset = await open(at('/reset'), { headers: { cookie } });
    await assert.rejects(text(reset), { code: 'ECONNRESET' });
    for (const path of ['/garbage', '/smuggle', '/unasked']) {
      const { status, body } = await visit(path);
      assert.equal(status, 502, path);
      assert.doesNotMatch(body, /owned/);
    }
    assert.equal((await visit('/after')).status, 200);
  });

  test('a large download at constant memory', async () => {
    const answer = await open(at('/big'), { headers: { cookie } });
    let count = 0;
    let most = 0;
    const { readFile } = await import('node:fs/promises');
    const memory = async () => Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${server.pid}/status`, 'utf8'))?.[1]);
    const began = await memory();
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      if (count >> 25 !== (count + chunk.length) >> 25) most = Math.max(most, await memory());
      count += chunk.length;
    }
    assert.equal(count, 256 << 20);
    assert.ok(most - began < 120_000, `${began} KiB, then ${most} KiB`);
  });

  test('a WebSocket, of its own pages only', async () => {
    const url = `ws://127.0.0.1:${link.port}/ws`;
    const socket = new WebSocket(url, { headers: { host: link.host, cookie, origin: link.origin } });
    await once(socket, 'open');
    socket.send('hello');
    assert.equal(String((await once(socket, 'message'))[0]), 'hello');
    socket.close();
    await once(socket, 'close');
    for (const [headers, status] of [
      [{ host: link.host, cookie, origin: 'http://evil.localhost' }, 403],
      [{ host: link.host, origin: link.origin }, 404],
    ] as const) {
      const refused = new WebSocket(url, { headers });
      const [error] = (await once(refused, 'error')) as [Error];
      assert.match(error.message, new RegExp(String(status)));
    }
  });

  test('a hundred at once', async () => {
    const replies = await Promise.all(Array.from({ length: 100 }, (_, i) => visit(`/n${i}`)));
    assert.deepEqual(
      replies.map(({ body }) => body),
      replies.map((_, i) => `hello from /n${i}`),
    );
  });

  test('no other principal, label, cookie or key opens it', async () => {
    const other = await share(bob);
    const bobs = await enter(other);
    assert.equal((await get(at('/x'))).status, 404);
    assert.equal((await get(at('/x'), { headers: { cookie: bobs } })).status, 404);
    assert.equal((await get(at('/x'), { headers: { authorization: `Bearer ${keys.bob}` } })).status, 404);
    const guessed = new URL(link.href.replace(/\/\/.*?\./, `//${'a'.repeat(26)}.`));
    assert.equal((await get(guessed)).status, 404);
    const tossed = new URL(`/?berth-preview=${other.searchParams.get('berth-preview')}`, link.origin);
    assert.equal((await get(tossed)).status, 404);
    assert.equal((await visit('/x', { headers: { cookie: `${bobs}; ${cookie}` } })).status, 200);
    const asLink = new URL(`/?${cookie}`, link.origin);
    assert.equal((await get(asLink)).status, 404);
  });

  test('nothing of Berth’s is served under a preview’s name', async () => {
    for (const path of ['/mcp', '/health', '/metrics']) {
      assert.equal((await visit(path)).body, `hello from ${path}`);
      assert.equal((await get(`http://x.localhost:${link.port}${path}`)).status, 404);
    }
  });

  test('smuggled, absolute and doubly addressed requests', async () => {
    const headers = `Host: ${link.host}\r\nCookie: ${cookie}\r\n`;
    const both = await raw(
      `POST /echo HTTP/1.1\r\n${headers}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /owned HTTP/1.1\r\n${headers}\r\n`,
    );
    assert.match(both, /^HTTP\/1\.1 400 /);
    assert.doesNotMatch(both, /hello from/);
    assert.match(
      await raw(`GET http://example.com/ HTTP/1.1\r\n${headers}Connection: close\r\n\r\n`),
      /^HTTP\/1\.1 400 /,
    );
    assert.match(
      await raw(`GET / HTTP/1.1\r\n${headers}Host: other.localhost\r\nConnection: close\r\n\r\n`),
      /^HTTP\/1\.1 400 /,
    );
  });

  test('access by key: the owner’s alone, which the program never sees', async () => {
    const own = await share(ann, { access: 'key' });
    assert.equal((await get(own)).status, 401);
    assert.equal((await get(own, { headers: { authorization: `Bearer ${keys.bob}` } })).status, 401);
    const { status, body } = await get(new URL('/echo', own), { headers: { authorization: `Bearer ${keys.ann}` } });
    assert.equal(status, 200);
    assert.doesNotMatch(body, /ann-has/);
  });

  test('a port that does not listen yet, and a link that was revoked', async () => {
    const later = await share(ann, { port: 8123 });
    const laters = await enter(later);
    const { status, body } = await get(new URL('/', later), { headers: { cookie: laters } });
    assert.equal(status, 503);
    assert.match(body, /http-equiv="refresh".*Nothing listens on port 8123 yet/s);
    await call(ann, 'share_port', { port: 8123, access: 'none' });
    assert.equal((await get(later)).status, 404);
    assert.equal((await get(new URL('/', later), { headers: { cookie: laters } })).status, 404);
  });
});
