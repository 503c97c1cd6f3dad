import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { quantile, times } from './numbers.ts';
import type { Sandbox } from './sandbox.ts';
import type { Row } from './table.ts';

const size = 50_000_000;
/** Bytes of one call: `download_file` gives no more, and as base64 they fit a request's body. */
const part = 4 * 1024 ** 2;
const rounds = 3;

/** Fifty megabytes by `upload_file` and `download_file`, a part with each call, beside the same bytes by one HTTP request. */
export async function throughTools(sandbox: Sandbox): Promise<Row[]> {
  const bytes = randomBytes(size);
  const url = `${sandbox.url}/plain`;
  const ways = {
    up: () => upload(sandbox, bytes),
    down: () => download(sandbox, bytes),
    httpUp: async () => assert.equal((await fetch(url, { method: 'PUT', body: bytes })).ok, true),
    httpDown: async () => assert.equal((await (await fetch(url)).bytes()).length, size),
  };
  const rate = async (way: keyof typeof ways) => size / 1000 / quantile(await times(rounds, ways[way]), 0.5);
  const unit = 'MB/s';
  const baseline = async (way: keyof typeof ways) => ({ name: 'one HTTP request', value: await rate(way) });
  return [
    { name: '50 MB by `upload_file`, 4 MiB a call', value: await rate('up'), unit, baseline: await baseline('httpUp') },
    {
      name: '50 MB by `download_file`, 4 MiB a call',
      value: await rate('down'),
      unit,
      baseline: await baseline('httpDown'),
    },
  ];
}

/** Leaves the whole file as `whole`: a file goes by one call, so the parts are put together by a command. */
async function upload({ client }: Sandbox, bytes: Buffer): Promise<void> {
  for (let at = 0, n = 10; at < size; at += part, n += 1) {
    const content = bytes.toString('base64', at, Math.min(size, at + part));
    await client.call('upload_file', { path: `parts/${n}`, content, encoding: 'base64' });
  }
  await client.run('cat parts/* >whole && rm -r parts');
}

async function download({ client }: Sandbox, expected: Buffer): Promise<void> {
  const parts: Buffer[] = [];
  for (let offset: number | undefined = 0; offset !== undefined;) {
    const got = await client.call('download_file', { path: 'whole', encoding: 'base64', offset, length: part });
    parts.push(Buffer.from(String(got['content']), 'base64'));
    offset = got['next_offset'] as number | undefined;
  }
  assert.ok(Buffer.concat(parts).equals(expected), 'the bytes came back as they went');
}
