import { AppError } from '../../src/errors.ts';
import type { Key, Principal } from '../../src/identity/key.ts';
import type { AcquireOptions, Lease, PoolHealth, SandboxInfo, Sandboxes } from '../../src/sandbox/sandboxes.ts';
import type { SandboxStatus } from '../../src/sandbox/ports/workspace.ts';
import { FakeWorkspace } from './fake-workspace.ts';

interface Entry {
  readonly principal: string;
  readonly workspace: FakeWorkspace;
  readonly info: SandboxInfo;
}

/** Sandboxes without an engine, and a ledger of what the callers did with them. */
export class FakeSandboxes implements Sandboxes {
  /** Every call, in order: `acquire <principal> <scope>`, `detach …`. */
  readonly calls: string[] = [];
  /** Leases taken and not given back. */
  leases = 0;
  /** Sentences the next lease says were lost. */
  lost: string[] = [];
  engine: PoolHealth['engine'] = {
    name: 'fake',
    version: '1',
    os: 'linux',
    arch: 'x64',
    cgroup: '2',
    runtimes: ['runc'],
    storage: 'overlay2',
  };
  readonly #entries = new Map<string, Entry>();
  #made = 0;

  async acquire(key: Key, options: AcquireOptions = {}): Promise<Lease> {
    this.#record('acquire', key);
    options.signal?.throwIfAborted();
    const own = key.scope.kind === 'handle' ? this.#byHandle(key.scope.id) : undefined;
    const { workspace } = own?.principal === key.principal.id ? own : (this.#entries.get(idOf(key)) ?? this.#add(key));
    const lost = this.lost.splice(0);
    this.leases++;
    const release = async () => void this.leases--;
    return { workspace, lost, [Symbol.asyncDispose]: release };
  }

  /** The workspace of a key that has one. */
  workspaceOf(key: Key): FakeWorkspace {
    return this.#found(key).workspace;
  }

  async create(principal: Principal, options: { template?: string; ttl?: number } = {}): Promise<SandboxInfo> {
    if (options.template === 'missing') throw new AppError('not_found', 'There is no template "missing".');
    const handle = `sb-fake-${++this.#made}`;
    return this.#add({ principal, scope: { kind: 'handle', id: handle } }, options.template).info;
  }

  async keep(key: Key, ttl: number): Promise<SandboxInfo> {
    this.#record(`keep ${ttl}`, key);
    return this.#found(key).info;
  }

  async list(principal: Principal): Promise<SandboxInfo[]> {
    return [...this.#entries.values()].filter((entry) => entry.principal === principal.id).map((entry) => entry.info);
  }

  async end(key: Key): Promise<void> {
    this.#record('end', key);
    this.#found(key);
    this.#entries.delete(idOf(key));
  }

  held(): Lease | undefined {
    return undefined;
  }

  async ownerOf(handle: string): Promise<Principal | undefined> {
    const entry = this.#byHandle(handle);
    return entry && { id: entry.principal };
  }

  #byHandle(handle: string): Entry | undefined {
    return [...this.#entries.values()].find(({ info }) => info.sandbox === handle);
  }

  async status(key: Key): Promise<SandboxStatus | null> {
    return (await this.#entries.get(idOf(key))?.workspace.status()) ?? null;
  }

  glance(): null {
    return null;
  }

  has(key: Key): boolean {
    return this.#entries.has(idOf(key));
  }

  async recreate(key: Key, scope: 'container' | 'workspace'): Promise<void> {
    this.#record(`recreate ${scope}`, key);
  }

  async detach(key: Key): Promise<void> {
    this.#record('detach', key);
    this.#entries.delete(idOf(key));
  }

  async health(): Promise<PoolHealth> {
    const running = this.#entries.size;
    return { engine: this.engine, sandboxes: { known: running, running, limit: 100 }, shellAlive: true };
  }

  #record(verb: string, key: Key): void {
    this.calls.push(`${verb} ${idOf(key)}`);
  }

  #found(key: Key): Entry {
    const entry = this.#entries.get(idOf(key));
    if (!entry) throw new AppError('not_found', 'There is no such sandbox.');
    return entry;
  }

  #add(key: Key, template = 'data'): Entry {
    if (key.scope.kind === 'handle' && !key.scope.id.startsWith('sb-fake-')) this.#found(key);
    const sandbox = key.scope.kind === 'handle' ? key.scope.id : `sb-${idOf(key)}`;
    const info: SandboxInfo = {
      sandbox,
      template,
      state: 'running',
      created: new Date(0).toISOString(),
      expires: null,
    };
    const entry = { principal: key.principal.id, workspace: new FakeWorkspace(sandbox, () => statusOf(info)), info };
    this.#entries.set(idOf(key), entry);
    return entry;
  }
}

/** `<principal> <scope kind>:<scope id>`. */
function idOf({ principal, scope }: Key): string {
  return `${principal.id} ${scope.kind}${scope.kind === 'default' ? '' : `:${scope.id}`}`;
}

function statusOf(info: SandboxInfo): SandboxStatus {
  return {
    ...info,
    image: 'berth/data:latest',
    idleDeadline: null,
    network: 'none',
    limits: { memory: 1 << 30, cpus: 1, pids: 256, tmp: 1 << 28, shm: 1 << 24, disk: null },
    usage: { memory: 1 << 20, pids: 3, cpuSeconds: 0.5, processes: 2, terminals: 0 },
    diskQuota: 'none',
    runtime: 'runc',
    commands: [],
    lost: [],
    degraded: [],
  };
}
