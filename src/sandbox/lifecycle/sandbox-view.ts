import type { Template } from '../../config.ts';
import type { Container, DiskQuota } from '../ports/runtime.ts';
import type { SessionHost } from '../session/wire/session-host.ts';
import type { SandboxRow } from '../../state/state.ts';
import type { FilesPort, SandboxStatus, PortsPort, ShellPort, TerminalsPort, Workspace } from '../ports/workspace.ts';

export interface SandboxParts {
  readonly row: SandboxRow;
  readonly template: Template;
  readonly container: Container;
  readonly host: SessionHost;
  readonly files: FilesPort;
  /** How the workspace's size is bounded; absent while that is not known. */
  readonly quota: DiskQuota | undefined;
}

/** A running sandbox as its callers see it. */
export class SandboxView implements Workspace {
  readonly handle: string;
  readonly shell: ShellPort;
  readonly files: FilesPort;
  readonly terminals: TerminalsPort;
  readonly ports: PortsPort;
  readonly #parts: SandboxParts;

  constructor(parts: SandboxParts) {
    this.handle = parts.row.handle;
    this.shell = parts.host.shell;
    this.files = parts.files;
    this.terminals = parts.host.terminals;
    this.ports = parts.host.ports;
    this.#parts = parts;
  }

  async status(): Promise<SandboxStatus> {
    const { container, host, quota, row, template } = this.#parts;
    const [usage, activity, terminals] = await Promise.all([container.usage(), host.activity(), this.terminals.list()]);
    const described = describe(row, template, quota);
    // The settings may have changed since it was started: these are in force.
    const { memoryLimit: memory, pidsLimit: pids } = usage;
    return {
      ...described,
      limits: { ...described.limits, ...(memory > 0 && { memory }), ...(pids > 0 && { pids }) },
      state: 'running',
      degraded: host.degraded,
      commands: host.commands(),
      usage: {
        memory: usage.memory,
        pids: usage.pids,
        cpuSeconds: usage.cpuSeconds,
        processes: activity.processes,
        terminals: terminals.filter((terminal) => !terminal.exited).length,
      },
    };
  }
}

/** What is known of a sandbox without its container. */
export function describe(row: SandboxRow, template: Template, quota: DiskQuota | undefined): SandboxStatus {
  const disk = quota?.bounded ? template.disk : null;
  return {
    sandbox: row.handle,
    state: 'idle',
    template: row.template,
    image: template.image,
    created: new Date(row.created).toISOString(),
    idleDeadline: null,
    expires: row.expires === null ? null : new Date(row.expires).toISOString(),
    network: shownNetwork(template),
    limits: {
      memory: template.memory,
      cpus: template.cpus,
      pids: template.pids,
      tmp: template.tmp,
      shm: template.shm,
      disk,
    },
    usage: { memory: 0, pids: 0, cpuSeconds: 0, processes: 0, terminals: 0 },
    commands: [],
    diskQuota: quota?.kind ?? 'unknown',
    runtime: template.runtime ?? 'default',
    lost: row.lost,
    degraded: [],
  };
}

const mostShown = 20;

/** The policy, with the hosts where it names some. */
function shownNetwork({ network, allow_hosts, allow_private }: Template): string {
  if (network !== 'allow-list') return network;
  const hosts = [...allow_hosts, ...allow_private];
  const more = hosts.length > mostShown ? ` and ${hosts.length - mostShown} others` : '';
  return `allow-list (${hosts.slice(0, mostShown).join(', ') || 'no host'}${more})`;
}
