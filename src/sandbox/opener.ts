import type { Config, Template } from '../config.ts';
import type { Logger } from '../log.ts';
import { diagnosed } from './diagnosed.ts';
import { Diagnosis } from './diagnosis/diagnose.ts';
import { createFiles } from './files.ts';
import type { Live, Opener } from './live.ts';
import type { Container, ContainerRecord, ContainerSpec, DiskQuota, Runtime } from './runtime.ts';
import { openShellHost, type SessionHost } from './session-host.ts';
import { describe, SandboxView } from './sandbox-view.ts';
import type { SandboxRow, State } from './state.ts';
import type { SandboxStatus, Workspace } from './workspace.ts';

export interface OpenerOptions {
  readonly runtime: Runtime;
  readonly state: State;
  readonly config: Config;
  readonly log: Logger;
  /** The text of a template's seccomp profile; absent where the engine's own is taken. */
  readonly seccomp: ReadonlyMap<string, string>;
  /** Wraps what callers get: policy, audit, metrics. */
  readonly decorate: (workspace: Workspace, row: SandboxRow) => Workspace;
}

/** Joins container, session host and files into a live sandbox. */
export class SandboxOpener implements Opener {
  readonly #options: OpenerOptions;
  #quota: DiskQuota | undefined;

  constructor(options: OpenerOptions) {
    this.#options = options;
  }

  /** Learns what this host offers, so that no first caller waits for it. Never rejects. */
  async prepare(): Promise<void> {
    const { log } = this.#options;
    try {
      const { kind, detail } = await this.#findQuota();
      log[kind === 'none' || kind === 'watch' ? 'warn' : 'info']({ event: 'workspace.quota', kind, detail });
    } catch (err) {
      log.warn({ event: 'workspace.quota_unknown', err });
    }
  }

  async open(row: SandboxRow, signal: AbortSignal): Promise<Live> {
    await this.#findQuota();
    const container = await this.#options.runtime.open(this.#spec(row), signal);
    try {
      return await this.#connect(row, container);
    } catch (error) {
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
    return await this.#connect(row, container);
  }

  describe(row: SandboxRow): SandboxStatus {
    return describe(row, this.#template(row), this.#quota);
  }

  async #connect(row: SandboxRow, container: Container): Promise<Live> {
    const { config, state, log } = this.#options;
    const host = await openShellHost(container, {
      token: state.derive('session-host', container.name),
      log: log.child({ sandbox: row.handle }),
      config,
      store: commandStore(state, row.handle),
    });
    const files = createFiles(container);
    const view = new SandboxView({ row, template: this.#template(row), container, host, files, quota: this.#quota });
    const workspace = diagnosed(view, this.#diagnosis(row, container));
    return live(container, host, this.#options.decorate(workspace, row));
  }

  #diagnosis(row: SandboxRow, container: Container): Diagnosis {
    const template = this.#template(row);
    return new Diagnosis({ container, template: row.template, network: template.network, limits: template });
  }

  async #findQuota(): Promise<DiskQuota> {
    return (this.#quota ??= await this.#options.runtime.quota());
  }

  #template(row: SandboxRow): Template {
    const { templates, session } = this.#options.config;
    const template = templates[row.template] ?? templates[session.template];
    if (!template) throw new Error(`template ${row.template} is not configured`);
    return template;
  }

  #spec(row: SandboxRow): ContainerSpec {
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
      name: `berth-${state.instance}-${row.handle}`,
      image: template.image,
      labels,
      env: template.env,
      volume: { name: row.volume, labels, ...(this.#quota?.bounded && { size: template.disk }) },
      shell: config.shell.default_shell,
      limits: template,
      mounts: template.mounts,
      network: template.network,
      ...(template.runtime === undefined ? {} : { runtime: template.runtime }),
      ...(profile === undefined ? {} : { seccomp: profile }),
    };
  }
}

function live(container: Container, host: SessionHost, workspace: Workspace): Live {
  return {
    container,
    workspace,
    activity: () => host.activity(),
    alive: () => host.alive(),
    closed: host.closed,
    [Symbol.asyncDispose]: () => host[Symbol.asyncDispose](),
  };
}

function commandStore(state: State, handle: string) {
  return {
    save: (commandId: string, record: string) => state.saveCommand({ handle, commandId, record }),
    load: () => state.commands(handle),
    drop: (commandId: string) => state.dropCommand(handle, commandId),
  };
}
