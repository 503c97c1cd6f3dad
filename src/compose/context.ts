import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { destination } from 'pino';
import { Registry } from 'prom-client';
import { adminRoutes } from '../api/admin/routes.ts';
import { listenToOperator } from '../api/admin/socket.ts';
import { createApp } from './app.ts';
import type { App } from '../api/http/served-app.ts';
import { changedSettings, isLoopback, settleAuth, type Config } from '../config.ts';
import { registerCard } from '../doctor/gauges.ts';
import { Doors } from '../egress/doors.ts';
import { dockerRuntime } from '../runtimes/docker/runtime.ts';
import { AppError } from '../errors.ts';
import { settingsPrincipal } from '../identity/keys.ts';
import { listen, type HttpServer } from '../api/http/server.ts';
import { createLogger, type Logger } from '../log.ts';
import { auditedOpener } from '../sandbox/intercept/audit/opener.ts';
import { AuditLog } from '../sandbox/intercept/audit/audit.ts';
import { auditSubject, decorator } from './decorate.ts';
import { workspaceMetrics } from '../sandbox/intercept/metered.ts';
import { DiskWatch } from '../sandbox/lifecycle/disk-watch.ts';
import type { SessionStore } from '../api/mcp/sessions.ts';
import { CpuWatch } from '../sandbox/intercept/limits/cpu-watch.ts';
import type { Limiter } from '../sandbox/intercept/limits/limiter.ts';
import { OpenTerminals } from '../sandbox/intercept/limits/open-terminals.ts';
import { admissionLimits, createLimiter } from '../sandbox/intercept/limits/settings.ts';
import type { RecordedOptions } from '../sandbox/intercept/recordings/recorded.ts';
import { Recorder } from '../sandbox/intercept/recordings/recorder.ts';
import { Overseer } from '../sandbox/lifecycle/overseer.ts';
import { SandboxOpener } from '../sandbox/lifecycle/opener.ts';
import { createPolicy } from '../sandbox/intercept/policy/policy.ts';
import { Pool } from '../sandbox/lifecycle/pool.ts';
import type { Runtime } from '../sandbox/ports/runtime.ts';
import { State, type SandboxRow } from '../state/state.ts';
import type { Check } from '../setup/checks.ts';
import { detached } from '../lib/detached.ts';

export interface Setup {
  readonly config: Config;
  readonly version: string;
  /** Where the engine may be named (`DOCKER_HOST`, the current docker context). */
  readonly env: NodeJS.ProcessEnv;
  /** What the doctor found before, for `/metrics`. */
  readonly card?: readonly Check[];
}

/** What tests put in place of a part. */
export interface Overrides {
  readonly log?: Logger;
  readonly runtime?: (state: State) => Runtime;
  readonly app?: Partial<Parameters<typeof createApp>[0]>;
}

/** A server with everything it holds. */
export interface Server extends AsyncDisposable {
  /** Without a path, e.g. `http://127.0.0.1:3000`. */
  readonly url: string;
  readonly pool: Pool;
  readonly instance: string;
  /** Takes over what can be of other settings, and goes on in the audit log's file of that name; the settings that need a restart. */
  reload(config: Config): Promise<readonly string[]>;
  /** Refuses new calls, lets those in flight end within `server.drain`, then lets everything go. Idempotent. */
  stop(): Promise<void>;
}

/** Builds the server and listens. Rejects with an `AppError` or `ConfigError` of one sentence when it can't. */
export async function startServer(setup: Setup, overrides: Overrides = {}): Promise<Server> {
  const { version } = setup;
  await using stack = new AsyncDisposableStack();
  const log = overrides.log ?? createLogger(setup.config.logging);
  const state = stack.use(new State(setup.config.server.state_dir));
  const config = settleAuth(setup.config, state.keys.any());
  const runtime = stack.use(overrides.runtime?.(state) ?? connectEngine(setup, state, log));
  const audit = auditLog(config, log);
  if (audit) stack.use(audit);
  const registry = new Registry();
  if (setup.card) registerCard(registry, setup.card);
  const terminals = new OpenTerminals();
  const openTerminals = (principal: string) => terminals.count(pool.lives(), principal);
  const limiter = createLimiter(config, openTerminals);
  const limits = limiter && { limiter, terminals };
  const recorder = createRecorder(config, log);
  if (recorder) stack.use(recorder);
  const recordings = recorder && { recorder, longestWait: config.shell.max_timeout };
  const wraps = { ...(audit && { audit }), ...(limits && { limits }), ...(recordings && { recordings }) };
  const parts = { runtime, state, log, registry, ...wraps };
  const cpu = limiter?.countsCpu ? watchCpu(limiter, () => pool, log) : undefined;
  const pool: Pool = stack.use(createPool(config, { ...parts, ...(cpu && { cpu }) }));
  if (cpu) stack.use(cpu);
  stack.use(watchDisk(config, { runtime, pool, log }));
  let draining = false;
  let keys = config.auth.keys;
  const app = createApp({
    config,
    log,
    sandboxes: pool,
    linkKey: state.derive('links', ''),
    keys: state.keys,
    previews: state,
    ...(audit && { audit }),
    settingsKeys: () => keys,
    sessionStore: sessionStore(state),
    registry,
    version,
    draining: () => draining,
    ...overrides.app,
  });
  const http = stack.use(await listenOrLetGo(app, config));
  const admin = await heedOperator(config, { pool, state, runtime, log });
  if (admin) stack.use(admin);
  pool.start();
  const { host } = config.server;
  const where = { url: `${http.url}/mcp`, host, port: Number(new URL(http.url).port), auth: config.auth.mode };
  log.info({ event: 'server.listening', ...where, instance: state.instance, version });
  if (config.auth.mode === 'none' && !isLoopback(host)) log.warn({ event: 'server.open', host }, openToAll);
  const held = stack.move();
  const shut = async (): Promise<void> => {
    draining = true;
    await http.close(config.server.drain * 1000);
    await held.disposeAsync();
    log.info({ event: 'server.stopped' });
  };
  let stopped: Promise<void> | undefined;
  const stop = () => (stopped ??= shut());
  const reload = async (asked: Config): Promise<readonly string[]> => {
    keys = asked.auth.keys;
    await audit?.reopen();
    const now = settleAuth(asked, state.keys.any());
    return changedSettings(config, now).filter((name) => name !== 'auth.keys' && name !== 'auth.settled');
  };
  return { url: http.url, pool, instance: state.instance, reload, stop, [Symbol.asyncDispose]: stop };
}

const openToAll =
  'auth.mode is none and server.host is beyond loopback: whoever reaches this port is let in, as one user with all others';

function sessionStore(state: State): SessionStore {
  return {
    save: (session) => state.saveSession(session),
    load: (id, principal) => state.session(id, principal),
    touch: (id) => state.touchSession(id),
    drop: (id) => state.dropSession(id),
    dropUnused: (milliseconds) => state.dropSessionsUnusedFor(milliseconds),
  };
}

/** Commands of the operator come through a socket in the state directory. Without it the server still serves. */
async function heedOperator(
  { server, auth }: Config,
  { log, ...parts }: { pool: Pool; state: State; runtime: Runtime; log: Logger },
): Promise<AsyncDisposable | undefined> {
  const names = new Map(auth.keys.map((key) => [settingsPrincipal(key), key.name]));
  const overseer = new Overseer({ ...parts, nameOf: (principal) => names.get(principal) ?? principal });
  try {
    return await listenToOperator(server.state_dir, adminRoutes({ overseer, log }));
  } catch (err) {
    log.warn({ event: 'admin.unavailable', err }, 'berth ps, stop and end do not reach this server');
    return undefined;
  }
}

async function listenOrLetGo(app: App, config: Config): Promise<HttpServer> {
  try {
    const { host, port, keepalive } = config.server;
    return await listen(app, host, port, { keepalive: keepalive * 1000 });
  } catch (error) {
    await app[Symbol.asyncDispose]();
    throw error;
  }
}

/** The runtime of an installation, as its settings have it. Throws `engine_unavailable` for an address that makes no sense. */
export function connectEngine({ config, env }: Omit<Setup, 'version'>, state: State, log: Logger): Runtime {
  return dockerRuntime({
    env,
    instance: state.instance,
    hostImage: config.docker.host_image,
    orphanAfter: config.session.orphan_after,
    maxParallelStarts: config.docker.max_parallel_starts,
    callTimeout: config.docker.call_timeout,
    ...(config.docker.host === undefined ? {} : { host: config.docker.host }),
    quota: {
      mode: config.workspace.quota,
      directory: config.server.state_dir,
      reserve: config.workspace.reserve,
    },
    log,
  });
}

interface PoolParts {
  readonly runtime: Runtime;
  readonly state: State;
  readonly log: Logger;
  readonly registry: Registry;
  readonly audit?: AuditLog;
  readonly limits?: { readonly limiter: Limiter; readonly terminals: OpenTerminals };
  readonly recordings?: RecordedOptions;
  readonly cpu?: CpuWatch;
}

/** Standard output carries audit lines and nothing else. Throws an `AppError` when the file can't be written. */
function auditLog({ audit }: Config, log: Logger): AuditLog | undefined {
  if (!audit.enabled) return undefined;
  const stdout = audit.stdout ? destination({ fd: 1, sync: true }) : undefined;
  const copy = stdout && { copy: (line: string) => void stdout.write(line) };
  try {
    return new AuditLog({ file: audit.file, maxSize: audit.max_size, keep: audit.keep, log, ...copy });
  } catch (cause) {
    const message = `audit.file: expected a file that can be written, got ${audit.file}.`;
    throw new AppError('invalid_argument', message, { cause });
  }
}

/** Seconds between two looks at the CPU time of sandboxes. */
const cpuInterval = 15;

function watchCpu(limiter: Limiter, pool: () => Pool, log: Logger): CpuWatch {
  return new CpuWatch({
    limiter,
    running: () => pool().lives(),
    stop: (handle, why) => pool().stop(handle, why),
    interval: cpuInterval,
    log,
  });
}

/** Throws an `AppError` when there is no place for recordings. */
function createRecorder({ recordings, server }: Config, log: Logger): Recorder | undefined {
  if (!recordings.enabled) return undefined;
  const { retention, max_size: maxSize, max_total: maxTotal } = recordings;
  const directory = recordings.dir ?? join(server.state_dir, 'recordings');
  try {
    return new Recorder({ directory, retention, maxSize, maxTotal, log });
  } catch (cause) {
    const message = `recordings.dir: expected a directory that can be made, got ${directory}.`;
    throw new AppError('invalid_argument', message, { cause });
  }
}

function createPool(config: Config, { registry, audit, limits, recordings, cpu, ...parts }: PoolParts): Pool {
  const { session, workspace } = config;
  const subjectOf = (row: SandboxRow) => auditSubject(row, parts.state);
  const policy = createPolicy(config.security);
  const decorate = decorator({
    metrics: workspaceMetrics(registry),
    subjectOf,
    ...(policy && { policy }),
    ...(audit && { audit }),
    ...(limits && { limits }),
    ...(recordings && { recordings }),
  });
  const opener = new SandboxOpener({
    ...parts,
    config,
    egress: egressDoors(config, parts),
    seccomp: seccompProfiles(config),
    decorate,
  });
  const names = Object.keys(config.templates).filter((name) => name !== session.template);
  detached(opener.prepare());
  const pool: Pool = new Pool({
    ...parts,
    opener: audit ? auditedOpener(opener, audit, subjectOf) : opener,
    templates: [session.template, ...names],
    warm: new Map(Object.entries(config.templates).map(([name, { warm }]) => [name, warm])),
    idleTimeout: session.timeout,
    removeAfter: session.remove_after,
    keepShell: session.keep_shell,
    ...admissionLimits(config, parts.runtime, () => pool.running()),
    leaving: cpu && ((row, live) => cpu.last(row, live)),
    cleanupInterval: session.cleanup_interval,
    retention: workspace.retention,
  });
  return pool;
}

function egressDoors({ server }: Config, { state, log }: { state: State; log: Logger }): Doors {
  const known = () => new Set(state.all().map(({ handle }) => handle));
  const doors = new Doors({ directory: join(server.state_dir, 'egress'), log, known });
  doors.tidy();
  return doors;
}

/** Begins to look once it is known that nothing else bounds workspaces. */
function watchDisk(
  { templates, workspace, session }: Config,
  { runtime, pool, log }: { runtime: Runtime; pool: Pool; log: Logger },
): Disposable {
  const watch = new DisposableStack();
  const limitOf = ({ template }: SandboxRow) => (templates[template] ?? templates[session.template])?.disk ?? 0;
  const running = () => pool.running().map((row) => ({ handle: row.handle, volume: row.volume, limit: limitOf(row) }));
  const stop = pool.stop.bind(pool);
  detached(
    runtime.quota().then(
      ({ kind }) => {
        if (kind !== 'watch' || watch.disposed) return;
        watch.use(new DiskWatch({ runtime, running, stop, interval: workspace.watch_interval, log }));
      },
      () => {},
    ),
  );
  return watch;
}

const ownProfile = fileURLToPath(new URL('../../config/seccomp.json', import.meta.url));

/** By template; those that take the engine's own profile are absent. Throws an `AppError` for one that can't be read. */
export function seccompProfiles(config: Config): ReadonlyMap<string, string> {
  const chosen = Object.entries(config.templates).filter(([, template]) => template.seccomp !== 'engine');
  return new Map(chosen.map(([name, template]) => [name, readProfile(name, template.seccomp ?? ownProfile)]));
}

function readProfile(template: string, path: string): string {
  try {
    return JSON.stringify(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    throw new AppError(
      'invalid_argument',
      `templates.${template}.seccomp: expected a readable JSON profile, got ${path}.`,
      { cause },
    );
  }
}
