import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { AppError } from '../../errors.ts';

/** Where an engine listens, and what named it. */
export interface EngineAddress {
  readonly url: string;
  /** For people: `DOCKER_HOST`, `docker context prod`, `the default socket` … */
  readonly source: string;
  /** A unix socket's path; absent for TCP. */
  readonly socketPath?: string;
  readonly host?: string;
  readonly port?: number;
  readonly tls?: TlsMaterial;
}

export interface TlsMaterial {
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
  /** False where a docker context says `SkipTLSVerify`. */
  readonly verify: boolean;
}

type Env = Readonly<Record<string, string | undefined>>;

/**
 * Finds the engine as the docker command does: the given address, `DOCKER_HOST`, the current docker context, then the
 * first socket that this user may open: the system's, the rootless engine's, Docker Desktop's.
 * Throws `engine_unavailable` when one of these is set but makes no sense.
 */
export function findEngine(env: Env, configured?: string): EngineAddress {
  if (configured) return parse(configured, 'docker.host', () => envTls(env));
  if (env['DOCKER_HOST']) return parse(env['DOCKER_HOST'], 'DOCKER_HOST', () => envTls(env));
  return fromContext(env) ?? fromSockets(env);
}

function parse(url: string, source: string, tls: (url: URL) => TlsMaterial | undefined): EngineAddress {
  const parsed = URL.parse(url.includes('://') ? url : `tcp://${url}`);
  if (parsed?.protocol === 'unix:') return { url, source, socketPath: url.slice('unix://'.length) || defaultSocket };
  if (parsed && ['tcp:', 'http:', 'https:'].includes(parsed.protocol) && parsed.hostname) {
    const material = tls(parsed) ?? (parsed.protocol === 'https:' ? { verify: true } : undefined);
    const port = Number(parsed.port) || (material ? 2376 : 2375);
    return { url, source, host: parsed.hostname, port, ...(material && { tls: material }) };
  }
  throw new AppError(
    'engine_unavailable',
    `${source} must be an engine address like unix:///var/run/docker.sock or tcp://host:2376; got "${url.slice(0, 200)}".`,
  );
}

function envTls(env: Env): TlsMaterial | undefined {
  if (!env['DOCKER_TLS_VERIFY'] && !env['DOCKER_CERT_PATH']) return undefined;
  return readTls(env['DOCKER_CERT_PATH'] || configDir(env), Boolean(env['DOCKER_TLS_VERIFY']), 'DOCKER_CERT_PATH');
}

function readTls(dir: string, verify: boolean, source: string): TlsMaterial {
  const read = (file: string) => (existsSync(join(dir, file)) ? readFileSync(join(dir, file)) : undefined);
  try {
    const [ca, cert, key] = [read('ca.pem'), read('cert.pem'), read('key.pem')];
    return { verify, ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
  } catch (cause) {
    throw new AppError('engine_unavailable', `The TLS files of ${source} cannot be read.`, { cause });
  }
}

function fromContext(env: Env): EngineAddress | undefined {
  const name = env['DOCKER_CONTEXT'] || currentContext(env);
  if (!name || name === 'default') return undefined;
  const id = createHash('sha256').update(name).digest('hex');
  const contexts = join(configDir(env), 'contexts');
  const endpoint = readJson(join(contexts, 'meta', id, 'meta.json'))?.Endpoints?.docker;
  const source = `docker context ${name}`;
  if (typeof endpoint?.Host !== 'string')
    throw new AppError('engine_unavailable', `The current ${source} names no engine; see "docker context ls".`);
  const tls = join(contexts, 'tls', id, 'docker');
  return parse(endpoint.Host, source, () => {
    return existsSync(tls) ? readTls(tls, endpoint.SkipTLSVerify !== true, source) : undefined;
  });
}

function currentContext(env: Env): string | undefined {
  const name = readJson(join(configDir(env), 'config.json'))?.currentContext;
  return typeof name === 'string' ? name : undefined;
}

/** The parts read here of docker's own files; nothing is taken on trust. */
interface DockerFile {
  readonly currentContext?: unknown;
  readonly Endpoints?: { readonly docker?: { readonly Host?: unknown; readonly SkipTLSVerify?: unknown } };
}

function readJson(path: string): DockerFile | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as DockerFile;
  } catch {
    return undefined;
  }
}

const defaultSocket = '/var/run/docker.sock';

function fromSockets(env: Env): EngineAddress {
  const home = env['HOME'] || homedir();
  const sockets = [
    [defaultSocket, 'the default socket'],
    [join(env['XDG_RUNTIME_DIR'] || '/nonexistent', 'docker.sock'), "the rootless engine's socket"],
    [join(home, '.docker/run/docker.sock'), "Docker Desktop's socket"],
    [join(home, '.docker/desktop/docker.sock'), "Docker Desktop's socket"],
  ] as const;
  const [socketPath, source] = sockets.find(([path]) => mayOpen(path)) ?? sockets[0];
  return { url: `unix://${socketPath}`, source, socketPath };
}

function mayOpen(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function configDir(env: Env): string {
  return env['DOCKER_CONFIG'] || join(env['HOME'] || homedir(), '.docker');
}
