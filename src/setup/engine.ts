import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import { type EngineAddress, findEngine } from '../runtimes/docker/address.ts';
import { Engine } from '../runtimes/docker/client.ts';
import { refusePodman } from '../runtimes/docker/podman.ts';
import { AppError } from '../errors.ts';
import { hasProgram, install, mayInstall } from './apt.ts';
import { defaultPlace, startDaemon } from './dockerd.ts';
import { SetupError } from './error.ts';
import type { Progress, Step } from './progress.ts';
import { run } from './run.ts';

type Env = Readonly<Record<string, string | undefined>>;

/**
 * An engine that answers: the one that is configured or found, or else one that is installed and started here.
 * Rejects with a `SetupError` that says what to do where neither can be.
 */
export async function ensureEngine(env: Env, configured: string | undefined, progress: Progress): Promise<Engine> {
  const address = findEngine(env, configured);
  const found = await reach(address);
  if (found instanceof Engine) return await docker(found);
  if (!isOurs(address)) throw new SetupError(unreachable(address, found));
  await progress.step(hasProgram('dockerd') ? 'Starting Docker' : 'Installing Docker', provide);
  const started = await reach(findEngine(env, configured));
  if (started instanceof Engine) {
    progress.note('Docker was started for this and keeps running when Berth stops.');
    return started;
  }
  throw new SetupError(unreachable(address, started));
}

async function docker(engine: Engine): Promise<Engine> {
  try {
    await refusePodman(engine);
    return engine;
  } catch (error) {
    engine[Symbol.dispose]();
    throw new SetupError(`${(error as Error).message}\nStart Docker, or name it in DOCKER_HOST, and try again.`);
  }
}

async function reach(address: EngineAddress): Promise<Engine | Error> {
  const engine = new Engine(address, 20);
  try {
    await engine.call({ doing: 'answer' }, () => engine.docker.ping());
    return engine;
  } catch (error) {
    engine[Symbol.dispose]();
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** Whether an engine may be started for this address: nobody chose another one, and this is root on Debian or Ubuntu. */
function isOurs(address: EngineAddress): boolean {
  return address.socketPath === defaultPlace.socket && address.source === 'the default socket' && mayStart();
}

function mayStart(): boolean {
  return process.platform === 'linux' && process.getuid?.() === 0 && (hasProgram('dockerd') || mayInstall());
}

async function provide(step: Step): Promise<void> {
  if (!hasProgram('dockerd')) await install(step, packages());
  if (existsSync('/run/systemd/system')) return run(step, ['systemctl', 'start', 'docker.service']);
  await startDaemon(step);
}

/** Where AppArmor is on, the engine needs its parser to start any container. */
function packages(): readonly string[] {
  const hardened = existsSync('/sys/module/apparmor/parameters/enabled') ? ['apparmor'] : [];
  return ['docker.io', 'iptables', 'ca-certificates', ...hardened];
}

/** The two lines for a person: what does not answer, and what to do. */
export function unreachable({ url, source }: EngineAddress, error: Error): string {
  const cause = error instanceof AppError ? error.cause : error;
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  return `No Docker engine answers at ${url} (${source}${code ? `: ${code}` : ''}).\n${advice(source, code)}`;
}

/** The rootless engine that this user has set up. Where it is down, only the system's socket is found, which is not theirs. */
function rootlessUnit(): string | undefined {
  if (process.getuid?.() === 0) return undefined;
  const config = process.env['XDG_CONFIG_HOME'] || join(homedir(), '.config');
  const unit = join(config, 'systemd/user/docker.service');
  return existsSync(unit) ? unit : undefined;
}

function advice(source: string, code: string | undefined): string {
  const rootless = rootlessUnit();
  if (source === 'the default socket' && rootless !== undefined)
    return `This user has a rootless Docker (${rootless}): start it with "systemctl --user start docker", and try again.`;
  if (code === 'EACCES')
    return `Let this user reach it: sudo usermod -aG docker ${userInfo().username}, log in again, and try again.`;
  if (source === 'DOCKER_HOST' || source === 'docker.host')
    return `Start that engine, or correct ${source}, and try again.`;
  if (source.startsWith('docker context'))
    return 'Start that engine, or choose another with "docker context use", and try again.';
  if (process.platform === 'darwin') return 'Start Docker Desktop, Colima or OrbStack, and try again.';
  const elevated = spawnSync('sh', ['-c', 'command -v apt-get']).status === 0;
  if (elevated)
    return 'Run this once as root and Docker is installed for you, or do it yourself: sudo apt-get install docker.io';
  return 'Install Docker (https://docs.docker.com/engine/install/), start it, and try again.';
}
