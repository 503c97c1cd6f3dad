import { execFile } from 'node:child_process';
import { existsSync, statfsSync } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Digester } from './digester.ts';
import { quantile, time } from './numbers.ts';
import type { Sandbox } from './sandbox.ts';
import type { Row } from './table.ts';

const run = promisify(execFile);
const size = 1024 ** 3;
const rounds = 5;

/**
 * The same file into and out of the same workspace volume: over HTTP by `curl`, by `docker cp`, and by `docker exec` with
 * a `cat` in the sandbox, which is how far an exec's stream alone gets; in, also to a server that only digests it. Each is
 * one program beside the engine; they take turns, and nothing waits to be written to the disk when one begins. The
 * client's side of the file is in memory.
 */
export async function copies(sandbox: Sandbox): Promise<Row[]> {
  await using own = await ownDirectory();
  const big = join(own.path, 'big');
  const back = join(own.path, 'back');
  await fill(big);
  await using digester = await Digester.start();
  const { container, url } = sandbox;
  const upload = await taken(back, {
    http: ['curl', ...curl, '--upload-file', big, '--output', join(own.path, 'answer'), `${url}/http`],
    cp: ['docker', 'cp', big, `${container}:/workspace/cp`],
    exec: ['sh', '-c', `docker exec -i ${container} ${cat} 'cat >/workspace/exec' <${big}`],
    digest: ['curl', ...curl, '--upload-file', big, '--output', join(own.path, 'answer'), digester.url],
  });
  const download = await taken(back, {
    http: ['curl', ...curl, '--output', back, `${url}/http`],
    cp: ['docker', 'cp', `${container}:/workspace/http`, back],
    exec: ['sh', '-c', `docker exec ${container} ${cat} 'cat /workspace/http' >${back}`],
  });
  return [...rows('upload', upload), ...rows('download', download)];
}

const curl = ['--silent', '--show-error', '--fail'];
const cat = '/opt/berth/bash -c';

/** The median of each way's MB/s. */
async function taken<W extends string>(back: string, ways: Record<W, readonly string[]>): Promise<Record<W, number>> {
  const names = Object.keys(ways) as W[];
  const rates = names.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, name] of names.entries()) {
      const [program, ...args] = ways[name] as [string, ...string[]];
      await rm(back, { force: true });
      await run('sync');
      rates[i]?.push(size / 1000 / (await time(() => run(program, args))));
    }
  }
  return Object.fromEntries(names.map((name, i) => [name, quantile(rates[i] ?? [], 0.5)])) as Record<W, number>;
}

const beside = { cp: '`docker cp`', exec: '`docker exec … cat`', digest: 'a server that only digests it' };

function rows(what: 'upload' | 'download', { http, ...others }: Record<string, number> & { http: number }): Row[] {
  return Object.entries(others).map(([way, value]) => ({
    name: `${what} of 1 GiB over HTTP`,
    value: http,
    unit: 'MB/s',
    baseline: { name: beside[way as keyof typeof beside], value },
    ...(way === 'cp' && { goal: { least: 0.8 } }),
  }));
}

/** In memory where there is room. */
async function ownDirectory(): Promise<AsyncDisposable & { readonly path: string }> {
  const shared = '/dev/shm';
  const roomy = existsSync(shared) && statfsSync(shared).bavail * statfsSync(shared).bsize > 3 * size;
  const path = await mkdtemp(join(roomy ? shared : tmpdir(), 'berth-bench-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

async function fill(path: string): Promise<void> {
  await using file = await open(path, 'w');
  const piece = Buffer.alloc(1024 ** 2, 'berth');
  for (let written = 0; written < size; written += piece.length) await file.write(piece);
}
