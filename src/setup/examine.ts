import { accessSync, constants, existsSync, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Config } from '../config.ts';
import { findEngine } from '../runtimes/docker/address.ts';
import { Engine } from '../runtimes/docker/client.ts';
import { podmanRefusal, podmanVersion } from '../runtimes/docker/podman.ts';
import { AppError } from '../errors.ts';
import { type Check, engineChecks, type EngineFacts, imageCheck, runtimeCheck, safetyChecks } from './checks.ts';
import { imageId } from './engine-images.ts';
import { unreachable } from './engine.ts';

type Env = Readonly<Record<string, string | undefined>>;

/**
 * Looks at the host and the engine without changing anything. A check that fails never hides the others. `readState`
 * throws an `AppError` where the state in a directory cannot be used.
 */
export async function examine(
  env: Env,
  config: Config,
  readState: (directory: string) => unknown,
): Promise<readonly Check[]> {
  const local = [nodeCheck(), stateCheck(config.server.state_dir, readState)];
  try {
    using engine = new Engine(findEngine(env, config.docker.host), 10);
    return [...local, ...(await examineEngine(engine, config))];
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return [...local, { name: 'engine', status: 'fail', detail }];
  }
}

/**
 * What makes the engine less of a wall than it could be: an old release, missing limits, no seccomp, no answer. Rejects
 * `unsupported` where the engine is another than Docker.
 */
export async function unsafe(env: Env, config: Config): Promise<readonly Check[]> {
  using engine = new Engine(findEngine(env, config.docker.host), 10);
  const facts = await readFacts(engine).catch((error: Error) => error);
  if (isForeign(facts)) throw facts;
  if (facts instanceof Error) return [noEngine(engine, facts)];
  return safetyChecks(facts).filter(({ status }) => status !== 'ok');
}

function nodeCheck(): Check {
  return { name: 'node', status: 'ok', detail: process.versions.node };
}

function stateCheck(directory: string, readState: (directory: string) => unknown): Check {
  const name = 'state directory';
  const existing = nearestExisting(directory);
  const fail = (detail: string): Check => ({ name, status: 'fail', detail, advice: 'Set server.state_dir.' });
  try {
    if (!statSync(existing).isDirectory()) return fail(`${existing} is no directory`);
    accessSync(existing, constants.W_OK | constants.X_OK);
    readState(directory);
  } catch (error) {
    return error instanceof AppError ? unusable(error) : fail(`${directory} cannot be written`);
  }
  const { bavail, bsize } = statfsSync(existing);
  const gigabytes = (bavail * bsize) / 1e9;
  const detail = `${directory}, ${gigabytes.toFixed(1)} GB free`;
  if (gigabytes > 2) return { name, status: 'ok', detail };
  return { name, status: 'warn', detail, advice: 'Make room before workspaces fill the disk.' };
}

function unusable({ message, data }: AppError): Check {
  const { detail = message, advice = '' } = data as { detail?: string; advice?: string };
  const sentence = advice && `${advice.charAt(0).toUpperCase()}${advice.slice(1)}.`;
  return { name: 'state directory', status: 'fail', detail, advice: sentence };
}

function nearestExisting(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearestExisting(dirname(path));
}

async function examineEngine(engine: Engine, config: Config): Promise<readonly Check[]> {
  const { url, source } = engine.address;
  const facts = await readFacts(engine).catch((error: Error) => error);
  if (facts instanceof Error) return [noEngine(engine, facts)];
  return [
    { name: 'engine', status: 'ok', detail: `${url} (${source})` },
    ...engineChecks(facts),
    ...(await imageChecks(engine, config)),
    ...Object.entries(config.templates).flatMap(([name, { runtime }]) =>
      runtime ? [runtimeCheck(name, runtime, facts.runtimes)] : [],
    ),
  ];
}

function isForeign(facts: unknown): facts is AppError {
  return facts instanceof AppError && facts.code === 'unsupported';
}

function noEngine({ address }: Engine, error: Error): Check {
  const told = isForeign(error) ? { detail: error.message } : split(unreachable(address, error));
  return { name: 'engine', status: 'fail', ...told };
}

function split(message: string): { detail: string; advice: string } {
  const [detail = '', advice = ''] = message.split('\n');
  return { detail, advice };
}

function imageChecks(engine: Engine, config: Config): Promise<readonly Check[]> {
  const uses = Object.entries(config.templates).map(([name, { image }]) => [`template ${name}`, image] as const);
  const all = [...uses, ['the session host', config.docker.host_image] as const];
  return Promise.all(all.map(async ([use, image]) => imageCheck(use, image, await imageId(engine, image))));
}

/** The fields of `/info` that the type declarations leave out or call optional. */
interface Info {
  readonly CgroupVersion?: string;
  readonly CgroupDriver?: string;
  readonly MemoryLimit?: boolean;
  readonly CpuCfsQuota?: boolean;
  readonly PidsLimit?: boolean;
  readonly Driver?: string;
  readonly LoggingDriver?: string;
  readonly SecurityOptions?: readonly string[] | null;
  readonly LiveRestoreEnabled?: boolean;
  readonly Runtimes?: Readonly<Record<string, unknown>> | null;
  readonly Warnings?: readonly string[] | null;
}

async function readFacts(engine: Engine): Promise<EngineFacts> {
  const attempt = { doing: 'describe itself' };
  const [version, info] = await Promise.all([
    engine.call(attempt, () => engine.docker.version()),
    engine.call(attempt, () => engine.docker.info() as Promise<Info>),
  ]);
  const podman = podmanVersion(version);
  if (podman !== undefined) throw new AppError('unsupported', podmanRefusal(engine.address.url, podman));
  const runc = version.Components?.find(({ Name }) => Name === 'runc')?.Version ?? '';
  const limits = { memory: info.MemoryLimit ?? false, cpu: info.CpuCfsQuota ?? false, pids: info.PidsLimit ?? false };
  return {
    version: version.Version,
    runc,
    limits,
    cgroupVersion: info.CgroupVersion ?? '1',
    cgroupDriver: info.CgroupDriver ?? 'unknown driver',
    storage: info.Driver ?? 'unknown',
    logging: info.LoggingDriver ?? 'unknown',
    security: info.SecurityOptions ?? [],
    liveRestore: info.LiveRestoreEnabled ?? false,
    runtimes: Object.keys(info.Runtimes ?? {}),
    warnings: info.Warnings ?? [],
  };
}
