import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Why Open WebUI cannot be had on this machine, in a sentence. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable';
}

/** What a chat with tools never loads: local models for speech, pictures and embeddings, gigabytes of them. */
const leftOut = [
  'torch',
  'accelerate',
  'sentence-transformers',
  'faster-whisper',
  'rapidocr',
  'opencv-python-headless',
];

const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'berth', 'open-webui');

export interface Installed {
  readonly version: string;
  /** The `open-webui` program. */
  readonly program: string;
}

/** Open WebUI in a virtual environment of its own, kept under the cache directory. `newest` or a version. */
export async function install(wanted: string): Promise<Installed> {
  const home = join(cache, wanted);
  const bin = join(home, 'bin');
  mkdirSync(cache, { recursive: true });
  if (!existsSync(join(bin, 'uv'))) {
    rmSync(home, { recursive: true, force: true });
    await run(await python(), ['-m', 'venv', home], 'make a virtual environment');
    await run(join(bin, 'pip'), ['install', '--quiet', 'uv'], 'install uv from PyPI');
  }
  const overrides = join(cache, 'left-out.txt');
  writeFileSync(overrides, leftOut.map((name) => `${name} ; sys_platform == "never"\n`).join(''));
  const what = wanted === 'newest' ? ['--upgrade', 'open-webui'] : [`open-webui==${wanted}`];
  const env = { VIRTUAL_ENV: home };
  await run(
    join(bin, 'uv'),
    ['pip', 'install', '--quiet', '--overrides', overrides, ...what],
    'install open-webui',
    env,
  );
  const asked = spawnSync(join(bin, 'python'), [
    '-c',
    'import importlib.metadata as m; print(m.version("open-webui"))',
  ]);
  return { version: asked.stdout.toString().trim(), program: join(bin, 'open-webui') };
}

/** The first Python that Open WebUI runs on. */
async function python(): Promise<string> {
  for (const name of ['python3.12', 'python3.11', 'python3']) {
    const { status, stdout } = spawnSync(name, ['-c', 'import sys, venv; print("%d.%d" % sys.version_info[:2])']);
    if (status === 0 && ['3.11', '3.12'].includes(stdout.toString().trim())) return name;
  }
  throw new Unavailable('Open WebUI needs Python 3.11 or 3.12 with the venv module, and this machine has neither.');
}

async function run(file: string, args: string[], what: string, env: Record<string, string> = {}): Promise<void> {
  const log = join(cache, 'install.log');
  const out = openSync(log, 'a');
  const child = spawn(file, args, { stdio: ['ignore', out, out], env: { ...process.env, ...env } });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Unavailable(`Could not ${what} (exit code ${code}); ${log} says why.`);
}
