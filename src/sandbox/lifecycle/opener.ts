import { createHash } from 'node:crypto';
import type { Config, Template } from '../../config.ts';
import { AppError } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import { diagnosed } from '../intercept/diagnosis/diagnosed.ts';
import { Diagnosis } from '../intercept/diagnosis/diagnose.ts';
import { type Egress, type EgressDoor, egressPaths, proxyVariables } from '../network/egress.ts';
import { egressUnreachable, egressWorks } from '../network/egress-check.ts';
import { EgressRelay } from '../network/egress-relay.ts';
import { createFiles } from '../files/files.ts';
import type { Live, Opener } from './live.ts';
import { containerName } from './roster.ts';
import type { Container, ContainerRecord, ContainerSpec, DiskQuota, Mount, Runtime } from '../ports/runtime.ts';
import { hostRefused, whyRefused } from '../session/plain/refused.ts';
import { openFallback, openShellHost, type SessionHost } from '../session/wire/session-host.ts';
import { describe, SandboxView } from './sandbox-view.ts';
import type { SandboxRow, State } from '../../state/state.ts';
import { OutputBudget } from '../session/shell/output-budget.ts';
import type { SandboxStatus, Workspace } from '../ports/workspace.ts';
import { detached } from '../../lib/detached.ts';

export interface OpenerOptions {
  readonly runtime: Runtime;
  readonly state: State;
  readonly config: Config;
  readonly log: Logger;
  /** The text of a template's seccomp profile; absent where the engine's own is taken. */
  readonly seccomp: ReadonlyMap<string, string>;
  readonly egress: Egress;
  /** Wraps what callers get: policy, audit, metrics. */
  readonly decorate: (workspace: Workspace, row: SandboxRow) => Workspace;
}

/** Joins container, session host and files into a live sandbox. */
export class SandboxOpener implements Opener {
  readonly #options: OpenerOptions;
  readonly #budget: OutputBudget;
  #quota: DiskQuota | undefined;
  /** Whether a sandbox reaches a proxy of this server; absent while that is not known. */
  #egressWorks: boolean | undefined;
  /** Images whose containers the session host does not run in. */
  readonly #hostless = new Set<string>();

  constructor(options: OpenerOptions) {
    this.#options = options;
    this.#budget = new OutputBudget(options.config.shell.history_memory);
  }

  /** Learns what this host offers, so that no first caller waits for it. Never rejects. */
  async prepare(): Promise<void> {
    const { log } = this.#options;
    try {
      const { kind, detail, reason } = await this.#findQuota();
      log[kind === 'none' || kind === 'watch' ? 'warn' : 'info']({ event: 'workspace.quota', kind, detail, reason });
    } catch (err) {
      log.warn({ event: 'workspace.quota_unknown', err });
    }
    const listed = Object.values(this.#options.config.templates).some(({ network }) => network === 'allow-list');
    if (listed) await this.#tryEgress();
  }

  /** Never rejects. What it found stays: a mount does not come to work while the server runs. */
  async #tryEgress(): Promise<void> {
    const { egress, runtime, log } = this.#options;
    try {
      this.#egressWorks = await egressWorks(egress, runtime);
      if (!this.#egressWorks) log.error({ event: 'egress.unreachable' }, egressUnreachable().message);
    } catch (err) {
      log.warn({ event: 'egress.unknown', err });
    }
  }

  /** Rejects `unsupported` for a template that was taken away: another one's network and image are not what was agreed. */
  async open(row: SandboxRow, signal: AbortSignal): Promise<Live> {
    if (!this.#options.config.templates[row.template]) throw templateGone(row.template);
    await this.#findQuota();
    await using undo = new AsyncDisposableStack();
    const door = await this.#door(row, true);
    if (door) undo.use(door);
    const opened = await this.#openEither(row, door, signal);
    undo.move();
    return opened;
  }

  /** With a session host, or without where there is none to be had. */
  async #openEither(row: SandboxRow, door: EgressDoor | undefined, signal: AbortSignal): Promise<Live> {
    const { config, log } = this.#options;
    const { image } = this.#template(row);
    if (config.shell.host === 'off' || this.#hostless.has(image)) return await this.#openWith(row, door, false, signal);
    try {
      return await this.#openWith(row, door, true, signal);
    } catch (err) {
      if (!hostRefused(err)) throw err;
      log.warn({ event: 'session_host.unavailable', image, err });
      this.#hostless.add(image);
      return await this.#openWith(row, door, false, signal);
    }
  }

  async #openWith(
    row: SandboxRow,
    door: EgressDoor | undefined,
    sessionHost: boolean,
    signal: AbortSignal,
  ): Promise<Live> {
    const container = await this.#options.runtime.open(await this.#spec(row, door, sessionHost), signal);
    try {
      return await this.#connect(row, container, { door, fresh: true, sessionHost });
    } catch (cause) {
      const error = sessionHost ? await whyRefused(container, cause) : cause;
      await container
        .remove()
        .catch((err: unknown) => this.#options.log.warn({ event: 'container.remove_failed', err }));
      throw error;
    }
  }

  async adopt(row: SandboxRow, record: ContainerRecord): Promise<Live> {
    await this.#findQuota();
    const container = this.#options.runtime.container(record);
    if (record.state === 'paused') await container.resume();
    await using undo = new AsyncDisposableStack();
    const door = await this.#door(row, false);
    if (door) undo.use(door);
    const sessionHost = record.labels[hostLabel] !== 'none';
    const adopted = await this.#connect(row, container, { door, fresh: false, sessionHost });
    undo.move();
    return adopted;
  }

  describe(row: SandboxRow): SandboxStatus {
    return describe(row, this.#template(row), this.#quota);
  }

  /** The way out of a sandbox whose template has one. */
  async #door(row: SandboxRow, fresh: boolean): Promise<EgressDoor | undefined> {
    const template = this.#template(row);
    if (template.network !== 'allow-list') return undefined;
    if (this.#egressWorks === false) throw egressUnreachable();
    const policy = {
      hosts: template.allow_hosts,
      ports: template.allow_ports,
      bytes: template.allow_bytes,
      privates: template.allow_private,
    };
    return await this.#options.egress.open({ handle: row.handle, template: row.template, policy, fresh });
  }

  async #connect(row: SandboxRow, container: Container, { door, fresh, sessionHost }: Way): Promise<Live> {
    const { config, state, log } = this.#options;
    await using held = new AsyncDisposableStack();
    const relay = door && held.use(new EgressRelay(container, log.child({ sandbox: row.handle })));
    const listening = Promise.allSettled([relay?.start()]);
    const kept = state.takeShell(row.handle);
    const options = {
      token: state.derive('session-host', container.name),
      log: log.child({ sandbox: row.handle }),
      config,
      store: commandStore(state, row.handle),
      budget: this.#budget,
      ...(fresh && kept && { carried: kept }),
    };
    const host = await (sessionHost
      ? openShellHost(container, options)
      : openFallback(container, { ...options, used: !fresh }));
    held.use(host);
    const [started] = await listening;
    if (started.status === 'rejected') throw started.reason;
    if (door) held.use(door);
    const diagnosis = this.#diagnosis(row, container, door);
    if (!fresh) detached(diagnosis.learn());
    // The shell lives from here on: what it began with is the past.
    if (kept) state.keepShell(row.handle, undefined);
    return this.#live(row, { container, host, diagnosis, held: held.move() });
  }

  #live(row: SandboxRow, parts: Parts): Live {
    const { container, host, diagnosis, held } = parts;
    // Where no session host runs, the bash beside it does not either.
    const hostless = host.degraded.length > 0 ? { bash: this.#options.config.shell.default_shell } : {};
    const files = createFiles(container, hostless);
    const view = new SandboxView({ row, template: this.#template(row), container, host, files, quota: this.#quota });
    const workspace = diagnosed(view, diagnosis);
    return {
      container,
      workspace: this.#options.decorate(workspace, row),
      glance: { handle: row.handle, shell: host.shell, terminals: host.terminals, files, ports: host.ports },
      activity: () => host.activity(),
      command: () => host.command(),
      alive: () => host.alive(),
      closed: host.closed,
      endsBecause: (why) => host.endsBecause?.(why),
      carry: () => host.carry(),
      restored: host.restored,
      emptied: container.emptied ?? false,
      used: async () => host.used === true || (await hasFiles(container)),
      claimedBy: (owner) => this.#live(owner, parts),
      [Symbol.asyncDispose]: async () => await held[Symbol.asyncDispose](),
    };
  }

  async specOf(row: SandboxRow): Promise<string> {
    const { name: _, labels: __, volume: ___, ...rest } = this.#plainSpec(row);
    const revision = await this.#options.runtime.revision(rest.image);
    return createHash('sha256')
      .update(JSON.stringify({ ...rest, revision }))
      .digest('hex')
      .slice(0, 24);
  }

  #diagnosis(row: SandboxRow, container: Container, door: EgressDoor | undefined): Diagnosis {
    const limits = this.#template(row);
    const denials = door && ((since: number) => door.denials(since));
    const { templates } = this.#options.config;
    const connected = Object.keys(templates).filter((name) => templates[name]?.network !== 'none');
    const around = { container, template: row.template, network: limits.network, limits, connected };
    return new Diagnosis({ ...around, ...(denials && { denials }) });
  }

  async #findQuota(): Promise<DiskQuota> {
    return (this.#quota ??= await this.#options.runtime.quota());
  }

  /** The row's, or for what still runs from one that was taken away, the default one. */
  #template(row: SandboxRow): Template {
    const { templates, session } = this.#options.config;
    const template = templates[row.template] ?? templates[session.template];
    if (!template) throw new Error(`template ${row.template} is not configured`);
    return template;
  }

  async #spec(row: SandboxRow, door: EgressDoor | undefined, sessionHost: boolean): Promise<ContainerSpec> {
    const spec = this.#plainSpec(row);
    const mounts = door ? [...spec.mounts, doorMount(door)] : spec.mounts;
    const digest = await this.specOf(row);
    const labels = { ...spec.labels, 'berth.spec': digest, ...(!sessionHost && { [hostLabel]: 'none' }) };
    return { ...spec, mounts, labels, ...(!sessionHost && { sessionHost }) };
  }

  #plainSpec(row: SandboxRow): ContainerSpec {
    const { state, config, seccomp } = this.#options;
    const template = this.#template(row);
    const labels = {
      'berth.instance': state.instance,
      'berth.sandbox': row.handle,
      'berth.principal': state.digest(row.principal),
      'berth.key': state.digest(`${row.principal}\0${row.scopeKind}\0${row.scopeId}`),
      'berth.template': row.template,
    };
    const profile = seccomp.get(row.template);
    return {
      name: containerName(state.instance, row.handle),
      image: template.image,
      labels,
      env: template.network === 'allow-list' ? { ...proxyVariables, ...template.env } : template.env,
      volume: { name: row.volume, labels, ...(this.#quota?.bounded && { size: template.disk }) },
      shell: config.shell.default_shell,
      cwd: config.security.working_directory,
      limits: template,
      mounts: template.mounts,
      network: networkOf(template),
      ...(template.runtime === undefined ? {} : { runtime: template.runtime }),
      ...(profile === undefined ? {} : { seccomp: profile }),
    };
  }
}

/** Also true where that cannot be found out. */
async function hasFiles(container: Container): Promise<boolean> {
  const look = '[ -z "$(find /workspace ! -type d 2>/dev/null | head -n 1)" ] && command -v find >/dev/null';
  try {
    await using process = await container.exec(['/bin/sh', '-c', look]);
    await Promise.all([process.stdout.cancel(), process.stderr.cancel()]);
    return (await process.wait()) !== 0;
  } catch {
    return true;
  }
}

/** On a container that was made to do without a session host. */
const hostLabel = 'berth.host';

/** How a container is come by: `fresh` where it has just been started. */
interface Way {
  readonly door: EgressDoor | undefined;
  readonly fresh: boolean;
  /** False where the container was made to do without one. */
  readonly sessionHost: boolean;
}

/** What a live sandbox holds; `held` lets go of it, the way out first. */
interface Parts {
  readonly container: Container;
  readonly host: SessionHost;
  readonly diagnosis: Diagnosis;
  readonly held: AsyncDisposable;
}

function doorMount({ directory }: EgressDoor): Mount {
  return { source: directory, target: egressPaths.directory, readOnly: true };
}

function networkOf({ network, network_open_unprotected: unprotected }: Template): ContainerSpec['network'] {
  if (network !== 'open') return 'none';
  return unprotected ? 'unprotected' : 'open';
}

function commandStore(state: State, handle: string) {
  return {
    save: (commandId: string, record: string) => state.saveCommand({ handle, commandId, record }),
    load: () => state.commands(handle),
    drop: (commandId: string) => state.dropCommand(handle, commandId),
  };
}

function templateGone(name: string): AppError {
  return new AppError(
    'unsupported',
    `The template ${name} of this sandbox is no longer in the settings. Its files are kept: ask the operator to put the template back, or end the sandbox with end_sandbox.`,
  );
}
