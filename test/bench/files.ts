import { once, type EventEmitter } from 'node:events';
import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { pack } from 'tar-stream';
import { ServerProcess } from '../support/server-process.ts';
import { BenchClient } from './client.ts';
import { quantile, time, times } from './numbers.ts';
import { RawContainer } from './raw.ts';
import type { Row } from './table.ts';

const size = 1024 ** 3;
const chunk = Buffer.alloc(1024 ** 2, 'berth');

/** A gibibyte up and down, and a small file through the tools. */
export async function files(): Promise<Row[]> {
  await using server = await ServerProcess.start();
  await using raw = await RawContainer.start();
  const client = await BenchClient.connect(server.url, 'files');
  const { sandbox } = await client.call('sandbox_status');
  await client.run('true');
  const url = `${server.url}/sandboxes/${String((await client.call('sandbox_status'))['sandbox'] ?? sandbox)}/files/big`;
  const headers = { 'x-openwebui-chat-id': 'files', 'content-length': String(size) };
  const up = await time(async () => {
    const body = Readable.toWeb(Readable.from(gibibyte()));
    const response = await fetch(url, { method: 'PUT', headers, body, duplex: 'half' } as RequestInit);
    if (!response.ok) throw new Error(await response.text());
    await response.text();
  });
  const down = await time(async () => drain((await fetch(url)).body as ReadableStream<Uint8Array>));
  const rawUp = await time(() => put(raw));
  const rawDown = await time(async () => {
    for await (const part of await raw.container.getArchive({ path: '/tmp/big' })) void part;
  });
  const small = quantile(
    await times(20, () => client.call('upload_file', { path: 'small', content: 'x'.repeat(1000) })),
    0.5,
  );
  const exec = quantile(await times(20, () => raw.exec(['true'])), 0.5);
  const rate = (ms: number) => size / 1e6 / (ms / 1000);
  return [
    {
      name: 'upload of 1 GiB',
      value: rate(up),
      unit: 'MB/s',
      baseline: { name: 'docker cp', value: rate(rawUp) },
      goal: { least: 0.8 },
    },
    {
      name: 'download of 1 GiB',
      value: rate(down),
      unit: 'MB/s',
      baseline: { name: 'docker cp', value: rate(rawDown) },
      goal: { least: 0.8 },
    },
    {
      name: 'a small file through `upload_file`',
      value: small,
      unit: 'ms',
      baseline: { name: 'an exec', value: exec },
    },
  ];
}

function* gibibyte(): Generator<Buffer> {
  for (let sent = 0; sent < size; sent += chunk.length) yield chunk;
}

async function drain(body: ReadableStream<Uint8Array>): Promise<void> {
  for await (const part of body) void part;
}

/** What `docker cp` does: a tar into the engine's archive API. */
async function put(raw: RawContainer): Promise<void> {
  const tar = pack();
  const entry = tar.entry({ name: 'big', size });
  const sent = raw.container.putArchive(tar as unknown as NodeJS.ReadableStream, { path: '/tmp' });
  for (const part of gibibyte()) if (!entry.write(part)) await once(entry as unknown as EventEmitter, 'drain');
  entry.end(undefined);
  tar.finalize();
  await sent;
}
