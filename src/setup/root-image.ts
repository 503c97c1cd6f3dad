import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Engine } from '../runtimes/docker/client.ts';
import { hasProgram, install, mayInstall } from './apt.ts';
import { follow, imageId } from './engine-images.ts';
import { SetupError } from './error.ts';
import type { Progress, Step } from './progress.ts';
import { run } from './run.ts';
import {
  type AptSource,
  distributionSources,
  formatSources,
  parseDeb822,
  parseRelease,
  parseSourcesList,
  type Release,
} from './sources.ts';

const upstream = 'debian:bookworm-slim';
const tag = { repo: 'berth/root', tag: 'latest' };

/** The id of the image that every other stands on: pulled, or made from the machine's own package sources. */
export async function ensureRootImage(engine: Engine, progress: Progress, anew: boolean): Promise<string> {
  const known = anew ? undefined : await imageId(engine, `${tag.repo}:${tag.tag}`);
  if (known) return known;
  const pulled = await pull(engine, progress, anew);
  if (pulled) await engine.docker.getImage(upstream).tag(tag);
  else
    await progress.step('Making the base image from this machine’s package sources', (step) => bootstrap(engine, step));
  const id = await imageId(engine, `${tag.repo}:${tag.tag}`);
  if (!id) throw new SetupError(`The image ${tag.repo} was made, but the engine does not show it.`);
  return id;
}

/** Whether the upstream image is there. An engine that cannot reach its registry says so within the deadline. */
async function pull(engine: Engine, progress: Progress, anew: boolean): Promise<boolean> {
  if (!anew && (await imageId(engine, upstream))) return true;
  return progress.step(`Pulling ${upstream}`, async (step) => {
    try {
      await follow(step, (abortSignal) => engine.docker.pull(upstream, { abortSignal }), { silence: 30_000 });
      return true;
    } catch (error) {
      step.log.write(`${String(error)}\n`);
      step.detail('not possible here');
      return (await imageId(engine, upstream)) !== undefined;
    }
  });
}

async function bootstrap(engine: Engine, step: Step): Promise<void> {
  const release = parseRelease(readFileSync('/etc/os-release', { encoding: 'utf8', flag: 'r' }));
  const sources = distributionSources(machineSources(), release);
  if (!mayInstall() || !sources[0]) {
    throw new SetupError(
      `The image ${upstream} cannot be pulled, and this machine cannot make one (that takes root on Debian or Ubuntu).\n` +
        `Load it by hand (docker load), or let the engine reach a registry that has it, and try again.`,
    );
  }
  if (!hasProgram('debootstrap')) await install(step, ['debootstrap', 'ca-certificates']);
  const directory = mkdtempSync('/var/tmp/berth-root-');
  try {
    await debootstrap(step, directory, sources[0], release);
    furnish(directory, sources);
    await importRoot(engine, step, directory);
  } finally {
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  }
}

function machineSources(): readonly AptSource[] {
  const lists = ['/etc/apt/sources.list', ...globSync('/etc/apt/sources.list.d/*.list')].filter((path) =>
    existsSync(path),
  );
  const stanzas = globSync('/etc/apt/sources.list.d/*.sources');
  return [
    ...lists.flatMap((path) => parseSourcesList(readFileSync(path, 'utf8'))),
    ...stanzas.flatMap((path) => parseDeb822(readFileSync(path, 'utf8'))),
  ].map((source) => ({ ...source, uri: firstMirror(source.uri) }));
}

/** Cloud images name a file that lists mirrors. */
function firstMirror(uri: string): string {
  const path = /^mirror\+file:(.+)$/.exec(uri)?.[1];
  if (!path || !existsSync(path)) return uri;
  return /^https?:\S+/m.exec(readFileSync(path, 'utf8'))?.[0] ?? uri;
}

async function debootstrap(step: Step, directory: string, source: AptSource, release: Release): Promise<void> {
  const script = `/usr/share/debootstrap/scripts/${source.suite}`;
  const fallback = release.id === 'ubuntu' ? 'gutsy' : 'sid';
  await run(
    step,
    [
      'debootstrap',
      '--variant=minbase',
      `--components=${source.components.filter((name) => ['main', 'universe'].includes(name)).join(',')}`,
      '--include=ca-certificates',
      ...(source.signedBy?.endsWith('.gpg') ? [`--keyring=${source.signedBy}`] : []),
      ...(source.trusted ? ['--no-check-gpg'] : []),
      source.suite,
      directory,
      source.uri,
      ...(existsSync(script) ? [] : [`${dirname(script)}/${fallback}`]),
    ],
    aptProxy(),
  );
}

/** The proxy that apt is told to use, as the environment that debootstrap reads. */
function aptProxy(): Record<string, string> {
  const answer = spawnSync('apt-config', ['shell', 'p', 'Acquire::http::Proxy'], { encoding: 'utf8' });
  const proxy = /^p='(.*)'$/m.exec(answer.stdout ?? '')?.[1];
  return proxy ? { http_proxy: proxy } : {};
}

/** Gives the new root the machine's package sources, so that a build finds what the machine would. */
function furnish(directory: string, sources: readonly AptSource[]): void {
  writeFileSync(join(directory, 'etc/apt/sources.list'), formatSources(sources));
  for (const { signedBy } of sources) {
    if (signedBy && existsSync(signedBy)) copyContents(signedBy, join(directory, signedBy));
  }
  const dump = spawnSync('apt-config', ['dump'], { encoding: 'utf8' }).stdout ?? '';
  const kept = dump
    .split('\n')
    .filter((line) => /^Acquire::(https?::Proxy|Check-(Valid-Until|Date)|Retries) "/.test(line));
  if (kept.length > 0) writeFileSync(join(directory, 'etc/apt/apt.conf.d/90machine'), `${kept.join('\n')}\n`);
}

/** Either may be a symbolic link, as Debian 13's keyrings are: the copy is a plain file in the link's place. */
export function copyContents(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  rmSync(to, { force: true });
  copyFileSync(from, to);
}

const leftOut = [
  'var/cache/apt/archives/*.deb',
  'var/cache/apt/*.bin',
  'var/lib/apt/lists/*',
  'var/log/*',
  'usr/share/locale/*',
];
const leftOutToo = [
  // Its directories stay: packages make links there and fail where they are missing.
  'usr/share/man/*/*',
  'usr/share/info/*',
  'usr/share/doc/*/*[!t]',
  'dev/*',
  'proc/*',
  'sys/*',
  'run/*',
  'tmp/*',
];

async function importRoot(engine: Engine, step: Step, directory: string): Promise<void> {
  step.detail('handing it to the engine');
  const excludes = [...leftOut, ...leftOutToo].map((pattern) => `--exclude=./${pattern}`);
  const args = ['-C', directory, '--one-file-system', '--numeric-owner', ...excludes, '-c', '.'];
  const tar = spawn('tar', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  const ended = once(tar, 'close') as Promise<[number | null]>;
  await follow(step, () => engine.docker.importImage(tar.stdout, tag));
  const [code] = await ended;
  if (code !== 0) throw new SetupError(`tar failed (exit code ${code}) while the base image was made.`);
}
