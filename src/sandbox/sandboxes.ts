import type { Key, Principal } from '../identity/key.ts';
import type { EngineInfo } from './ports/runtime.ts';
import type { Glance, SandboxStatus, Workspace } from './ports/workspace.ts';

/** The port through which tools and routes reach sandboxes; `pool.ts` is behind it. */
export interface Sandboxes {
  /** The key's sandbox: created, woken or found, exactly once however many calls arrive together. */
  acquire(key: Key, options?: AcquireOptions): Promise<Lease>;
  /** A new sandbox with a handle of its own. */
  create(
    principal: Principal,
    options?: { template?: string; ttl?: number; signal?: AbortSignal },
  ): Promise<SandboxInfo>;
  /** Puts off the end of its `ttl` to at least that many seconds from now; one without an end has none afterwards. Rejects `not_found`. */
  keep(key: Key, ttl: number): Promise<SandboxInfo>;
  list(principal: Principal): Promise<SandboxInfo[]>;
  /** Removes the sandbox and, unless `keepWorkspace`, its workspace. Rejects `not_found`, for a foreign handle as for an unknown one. */
  end(key: Key, options?: { keepWorkspace?: boolean }): Promise<void>;
  /** A look at the key's sandbox while it runs, which counts as no use of it; otherwise `null`. Makes and wakes nothing. */
  glance(key: Key): Glance | null;
  /** Whether the key has a sandbox, running or not. Makes and wakes nothing. */
  has(key: Key): boolean;
  /** Status without creating or waking anything; `null` when the key has no sandbox. */
  status(key: Key): Promise<SandboxStatus | null>;
  /** `container`: a new container over the same workspace. `workspace`: an empty one, too. */
  recreate(key: Key, scope: 'container' | 'workspace'): Promise<void>;
  /** The end of an MCP session: its calls are aborted by the caller; removes the sandbox only when it was keyed by the session itself. */
  detach(key: Key): Promise<void>;
  /** Whose sandbox it is, for a link that its owner signed; never for what a client merely says. */
  ownerOf(handle: string): Promise<Principal | undefined>;
  /** A hold on a sandbox that runs, for a link that its owner made; undefined where it sleeps. Wakes nothing. */
  held(handle: string): Lease | undefined;
  health(): Promise<PoolHealth>;
}

export interface AcquireOptions {
  readonly signal?: AbortSignal;
  readonly template?: string;
  /** Called with sentences while the caller waits: `queued at place 3`, `starting`. */
  readonly onProgress?: (message: string) => void;
}

/** A hold on a sandbox: it is not idled out until every lease is disposed. */
export interface Lease extends AsyncDisposable {
  readonly workspace: Workspace;
  /** Sentences: what this wake could not bring back, and that the sandbox ends soon. Whoever reads them tells the model: no later lease has them. */
  readonly lost: readonly string[];
}

export interface SandboxInfo {
  readonly sandbox: string;
  readonly template: string;
  readonly state: SandboxStatus['state'];
  readonly created: string;
  readonly expires: string | null;
}

export interface PoolHealth {
  readonly engine: EngineInfo | null;
  readonly sandboxes: {
    readonly known: number;
    readonly running: number;
    readonly limit: number;
    /** First calls that wait for a place. */
    readonly waiting?: number;
  };
  /** False when a running sandbox's shell does not answer; true when none runs. */
  readonly shellAlive: boolean;
}
