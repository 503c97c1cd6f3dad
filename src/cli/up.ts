import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { destination } from 'pino';
import { settleAuth, type Config } from '../config.ts';
import { startServer, type Server } from '../compose/context.ts';
import type { Engine } from '../runtimes/docker/client.ts';
import { AppError } from '../errors.ts';
import { createLogger, type Logger } from '../log.ts';
import { imageId } from '../setup/engine-images.ts';
import { hasStoredKeys } from '../identity/key-store.ts';
import { makeStateDirectory } from '../state/directory.ts';
import { ensureEngine } from '../setup/engine.ts';
import { SetupError } from '../setup/error.ts';
import { ensureImages } from '../setup/images.ts';
import { Progress } from '../setup/progress.ts';
import { prove } from '../setup/prove.ts';
import { aborted, type Invocation, settings, version } from './invocation.ts';
import { heedHost } from './strict.ts';

/** Makes the machine ready, serves, proves that it works, and tells a person how to go on. */
export async function up(invocation: Invocation): Promise<number> {
  const { config: asked, notes } = settings(invocation);
  const config = settleAuth(asked, hasStoredKeys(asked.server.state_dir));
  for (const note of notes) invocation.err.write(`${note}\n`);
  try {
    await refuseTakenPort(config.server);
    await prepare(invocation, config);
    return await serveAndTell(invocation, config);
  } catch (error) {
    if (!invocation.stop.aborted) throw error;
    invocation.err.write('Stopped before it was ready.\n');
    return 130;
  }
}

/** Says so before anything long is done. Any other trouble with the address shows when the server listens. */
async function refuseTakenPort({ host, port }: Config['server']): Promise<void> {
  const probe = createServer();
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  probe.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code)).listen(port, host, () => resolve(undefined));
  const code = await promise;
  await new Promise((done) => probe.close(done));
  if (code !== 'EADDRINUSE') return;
  throw new AppError(
    'conflict',
    `Port ${port} on ${host} is taken, maybe by a Berth that runs already; stop it, or choose another with --port.`,
  );
}

async function prepare({ env, flags, stop, err }: Invocation, config: Config): Promise<void> {
  makeStateDirectory(config.server.state_dir);
  await using progress = new Progress(join(config.server.state_dir, 'setup.log'), { out: err, signal: stop });
  using engine = await ensureEngine(env, config.docker.host, progress);
  await ensureImages(engine, progress, { anew: flags['rebuild'] === true });
  for (const [name, { image }] of Object.entries(config.templates)) {
    if (!(await imageId(engine, image))) err.write(missing(name, image, engine));
  }
}

function missing(template: string, image: string, { address }: Engine): string {
  return `The template ${template} cannot be used yet: its image ${image} is not on the engine at ${address.url}.\n`;
}

async function serveAndTell(invocation: Invocation, config: Config): Promise<number> {
  const { env, stop, out } = invocation;
  const logFile = join(config.server.state_dir, 'berth.log');
  const log = createLogger(config.logging, destination({ dest: logFile, mkdir: true, sync: true }));
  const key = config.auth.mode === 'keys' ? randomBytes(32).toString('base64url') : undefined;
  const card = await heedHost(env, config, log, stop);
  const started = { config: withKey(config, key), version: version(), env, ...(card && { card }) };
  await using server = await startServer(started, { log });
  const proof = await prove(`${server.url}/mcp`, key, stop).catch((error: unknown) => failed(error, logFile));
  out.write(greeting(server, config, proof, logFile));
  await aborted(stop);
  await stopAndTell(server, invocation, log);
  return 0;
}

function failed(error: unknown, logFile: string): never {
  if (!(error instanceof SetupError)) throw error;
  throw new SetupError(`${error.message}\nThe server's log says more: ${logFile}`, { cause: error });
}

/** With keys on, the proof needs one: it lives as long as this process and is written nowhere. */
function withKey(config: Config, key: string | undefined): Config {
  if (key === undefined) return config;
  const sha256 = createHash('sha256').update(key).digest('hex');
  return { ...config, auth: { ...config.auth, keys: [...config.auth.keys, { name: 'berth-up', sha256 }] } };
}

function greeting(server: Server, config: Config, proof: string, logFile: string): string {
  const url = `${server.url}/mcp`;
  const headers = config.auth.mode === 'keys' ? { headers: { Authorization: 'Bearer YOUR-KEY' } } : {};
  const client = { mcpServers: { berth: { type: 'http', url, ...headers } } };
  return [
    `Berth ${version()} is ready at ${url} (${proof}).`,
    '',
    'For your client’s configuration:',
    JSON.stringify(client, null, 2),
    '',
    `Logs:   ${logFile}, and of the set-up: ${join(config.server.state_dir, 'setup.log')}`,
    `State:  ${config.server.state_dir}`,
    'Ctrl-C stops the server. Sandboxes in use stay, with their shells, for the next start.',
    '',
  ].join('\n');
}

async function stopAndTell(server: Server, { out, err }: Invocation, log: Logger): Promise<void> {
  err.write('\nStopping; a second Ctrl-C leaves at once.\n');
  const kept = await server.pool.health().then(
    ({ sandboxes }) => sandboxes.running,
    (error: unknown) => void log.warn({ event: 'health.failed', err: error }),
  );
  await server.stop();
  if (kept === 0) out.write('Stopped. No sandbox is left running.\n');
  else
    out.write(`Stopped. ${kept ?? 'Some'} sandbox${kept === 1 ? ' keeps' : 'es keep'} running for the next start.\n`);
}
