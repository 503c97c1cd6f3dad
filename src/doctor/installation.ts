import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { connectEngine, seccompProfiles } from '../compose/context.ts';
import { findEngine } from '../runtimes/docker/address.ts';
import { Engine } from '../runtimes/docker/client.ts';
import { loggedBy } from '../runtimes/docker/logged.ts';
import { Doors } from '../egress/doors.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { SandboxOpener } from '../sandbox/lifecycle/opener.ts';
import { newVolume } from '../sandbox/lifecycle/roster.ts';
import type { DiskQuota, Runtime } from '../sandbox/ports/runtime.ts';
import { State, type SandboxRow } from '../state/state.ts';
import type { Target, Victim } from './attack.ts';

export interface InstallationOptions {
  readonly config: Config;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Logger;
}

const MiB = 1024 ** 2;
/** Seconds after which a sandbox ends by itself when the doctor was killed. */
const orphanAfter = 60;

/**
 * An installation of its own, with the operator's templates: another instance id, another state. It sees no sandbox of
 * any other. Disposing removes everything that it made.
 */
export class Installation implements AsyncDisposable {
  readonly #config: Config;
  readonly #engine: Engine;
  readonly #state: State;
  readonly #runtime: Runtime;
  readonly #opener: SandboxOpener;
  readonly #held: AsyncDisposableStack;
  readonly #name: string;
  #last = 0;

  private constructor({ config, env, log }: InstallationOptions, name: string) {
    using undo = new DisposableStack();
    const directory = join(config.server.state_dir, name);
    this.#name = name;
    this.#config = scaledDown(config, directory);
    this.#state = undo.use(new State(directory));
    undo.defer(() => rmSync(directory, { recursive: true, force: true }));
    // The server's own place: no other may be mounted where a guard stands before the engine.
    const egress = join(config.server.state_dir, 'egress');
    undo.defer(() => removeThose(egress, name));
    this.#engine = undo.use(new Engine(findEngine(env, config.docker.host), config.docker.call_timeout));
    this.#runtime = connectEngine({ config: this.#config, env }, this.#state, log);
    this.#held = new AsyncDisposableStack();
    this.#opener = new SandboxOpener({
      runtime: this.#runtime,
      state: this.#state,
      config: this.#config,
      log,
      seccomp: seccompProfiles(this.#config),
      egress: new Doors({ directory: egress, log }),
      decorate: (workspace) => workspace,
    });
    const settled = undo.move();
    this.#held.defer(() => settled.dispose());
    this.#held.use(this.#runtime);
    this.#held.defer(() => this.clear());
  }

  /** Also clears away what a doctor that was killed has left. Rejects when there is no place for its state. */
  static async make(options: InstallationOptions): Promise<Installation> {
    const { state_dir: place } = options.config.server;
    mkdirSync(place, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(place).filter((name) => /^doctor-[0-9a-f]{6}$/.test(name)))
      await clearAway(() => new Installation(options, name));
    return new Installation(options, `doctor-${randomBytes(3).toString('hex')}`);
  }

  quota(): Promise<DiskQuota> {
    return this.#runtime.quota();
  }

  /** Two sandboxes of the template: one to attack, one beside it. Rejects as any first call on the template would. */
  async target(template: string, signal: AbortSignal): Promise<Target> {
    const opened = await Promise.allSettled([this.#open(template, signal), this.#open(template, signal)]);
    const [own, peer] = opened.map((result) => {
      if (result.status === 'rejected') throw result.reason;
      return result.value;
    }) as [Victim, Victim];
    return {
      ...own,
      peer,
      template: this.#config.templates[template]!,
      quota: await this.quota(),
      logged: () => loggedBy(this.#engine, own.container.id),
    };
  }

  async #open(template: string, signal: AbortSignal): Promise<Victim> {
    const row = this.#row(template);
    this.#state.insert(row);
    const live = this.#held.use(await this.#opener.open(row, signal));
    return { container: live.container, workspace: live.workspace };
  }

  #row(template: string): SandboxRow {
    const handle = `${this.#name}-${++this.#last}`;
    const volume = newVolume(this.#state.instance, handle);
    const now = Date.now();
    const life = { state: 'live', created: now, lastUsed: now, expires: null, lost: [] } as const;
    return { handle, principal: 'doctor', scopeKind: 'handle', scopeId: handle, template, volume, ...life };
  }

  /** Removes every sandbox and workspace there is. */
  async clear(): Promise<void> {
    for (const record of await this.#runtime.list()) await this.#runtime.container(record).remove();
    for (const volume of await this.#runtime.volumes()) await this.#runtime.removeVolume(volume);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#held.disposeAsync();
  }
}

/** Unless it is in use: then another doctor is at work. */
async function clearAway(old: () => Installation): Promise<void> {
  try {
    await old()[Symbol.asyncDispose]();
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'conflict')) throw error;
  }
}

/** Removes the entries of a directory whose names begin so. */
function removeThose(directory: string, prefix: string): void {
  for (const name of existsSync(directory) ? readdirSync(directory) : [])
    if (name.startsWith(prefix)) rmSync(join(directory, name), { recursive: true, force: true });
}

/** Sizes are what an attack on them takes time for; what keeps them is the same for any size. */
function scaledDown(config: Config, directory: string): Config {
  const templates = Object.entries(config.templates).map(([name, template]) => {
    const [memory, disk, tmp] = [256, 64, 32].map((most) => most * MiB) as [number, number, number];
    const least = {
      memory: Math.min(template.memory, memory),
      disk: Math.min(template.disk, disk),
      tmp: Math.min(template.tmp, tmp),
      pids: Math.min(template.pids, 128),
    };
    return [name, { ...template, ...least, warm: 0 }] as const;
  });
  return {
    ...config,
    server: { ...config.server, state_dir: directory },
    session: { ...config.session, orphan_after: orphanAfter },
    templates: Object.fromEntries(templates),
  };
}
