/** The port behind which a container engine stands. Streams here are web streams; an engine joins them to its own. */
export interface Runtime {
  /** What the engine is, for `sandbox_status`, `/health` and `doctor`. Rejects with `engine_unavailable`. */
  engine(signal?: AbortSignal): Promise<EngineInfo>;
  /**
   * Creates and starts a container; the volumes it names are created when missing. Idempotent by `spec.name`: one that
   * has stopped is started again, or made anew where its label `berth.spec` is not the one asked for.
   */
  open(spec: ContainerSpec, signal?: AbortSignal): Promise<Container>;
  /** Every container of this instance, running or not, by label. */
  list(signal?: AbortSignal): Promise<readonly ContainerRecord[]>;
  /** This instance's container of that name, running or not. */
  find(name: string): Promise<ContainerRecord | undefined>;
  /**
   * What an image's name stands for at present, with Berth's own part in a container: another text when either is
   * rebuilt. May be some seconds old. Rejects `image_missing`.
   */
  revision(image: string): Promise<string>;
  /** A container known by a record, without a call to the engine. */
  container(record: ContainerRecord): Container;
  /**
   * Removes what nobody will use again: ended containers of other instances, and containers of this one that were
   * created, never started, and whose name `known` does not hold. Never a running one. Returns their names.
   */
  reap(known: ReadonlySet<string>, signal?: AbortSignal): Promise<readonly string[]>;
  /** Every workspace volume of this instance, by label. */
  volumes(signal?: AbortSignal): Promise<readonly string[]>;
  /** Removes a workspace volume; a missing one is no error. */
  removeVolume(name: string): Promise<void>;
  /** How workspaces are kept within their size here; tried once for real. Rejects `unsupported` when what was asked for does not work. */
  quota(): Promise<DiskQuota>;
  /** Runs a program of the session host's image to its end in a throw-away container without a network; the exit code. */
  trial(trial: Trial): Promise<number>;
  /** Bytes that each workspace volume of this instance holds, as the engine's host counts them; may be slow. */
  volumeSizes(signal?: AbortSignal): Promise<ReadonlyMap<string, number>>;
  /** Events of this instance's containers until the signal aborts. Reconnects by itself; `reconnected` says that some may be lost. */
  events(signal: AbortSignal): AsyncIterable<RuntimeEvent>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Something to be tried where sandboxes run. It gets no input. */
export interface Trial {
  readonly argv: readonly string[];
  readonly mounts: readonly Mount[];
}

/** How the size of workspaces is bounded. */
export interface DiskQuota {
  /** `watch`: a sandbox is stopped some time after it has grown too big; `none`: nothing but the host's disk. */
  readonly kind: 'loop' | 'project' | 'tmpfs' | 'watch' | 'none';
  /** False where a template's size means nothing. */
  readonly bounded: boolean;
  /** A noun phrase for people. */
  readonly detail: string;
  /** Why nothing better works here, for the operator alone: it may name what is on the host. */
  readonly reason?: string;
}

export interface EngineInfo {
  readonly name: string;
  readonly version: string;
  readonly os: string;
  readonly arch: string;
  readonly cgroup: string;
  readonly runtimes: readonly string[];
  readonly storage: string;
  /** Bytes of memory of the engine's host, where the engine tells. */
  readonly memory?: number;
}

/** A container as the domain asks for it. The hardening that never varies is the engine's business (`docker/spec.ts`). */
export interface ContainerSpec {
  readonly name: string;
  readonly image: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly env: Readonly<Record<string, string>>;
  /** The workspace volume, mounted at `/workspace`; owned by user 1000 when it is created. `size` in bytes, from its creation on. */
  readonly volume: { readonly name: string; readonly labels: Readonly<Record<string, string>>; readonly size?: number };
  readonly shell: string;
  /** False: the image's own `/bin/sh` keeps the container, as no session host can run in it. */
  readonly sessionHost?: boolean;
  /** Where the shell starts, at or below `/workspace`; made when missing. Absent: `/workspace`. */
  readonly cwd?: string;
  readonly limits: ContainerLimits;
  /** The OCI runtime's name; absent = the engine's default. */
  readonly runtime?: string;
  /** A seccomp profile's JSON text; absent = the engine's default. */
  readonly seccomp?: string;
  readonly mounts: readonly Mount[];
  /** `open`: out, but to nothing of the engine's host. `unprotected`: the engine's bridge as it is. */
  readonly network: 'none' | 'open' | 'unprotected';
}

export interface ContainerLimits {
  /** Bytes. Swap is never added. */
  readonly memory: number;
  readonly cpus: number;
  readonly pids: number;
  /** Size of `/tmp` in bytes. */
  readonly tmp: number;
  /** Size of `/dev/shm` in bytes. */
  readonly shm: number;
  readonly nofile: number;
}

/** An operator's mount: a named volume or a host directory, read-only unless written out. */
export interface Mount {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
}

export interface ContainerRecord {
  readonly id: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly state: 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead';
  /** Seconds since the epoch, by the engine's clock. */
  readonly created: number;
  /** The volume at `/workspace`, where a list was asked for. */
  readonly workspace?: string;
}

export interface Container {
  readonly id: string;
  readonly name: string;
  /** True where its workspace began empty when it was opened. */
  readonly emptied?: boolean;
  /** Starts a process as the sandbox's own user. Rejects with `sandbox_lost` when the container is gone. */
  exec(argv: readonly string[], options?: ExecOptions): Promise<Process>;
  /** Rejects with `sandbox_lost` when the container does not run, `engine_unavailable` when there are no figures. */
  usage(signal?: AbortSignal): Promise<Usage>;
  state(signal?: AbortSignal): Promise<ContainerState>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Ends every process at once and keeps the container, for `Runtime.open` to start again. Idempotent. */
  stop(): Promise<void>;
  /** Kills and removes the container, not its workspace. Idempotent. */
  remove(): Promise<void>;
}

export interface ExecOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** With a terminal, stdout carries both streams and stderr is empty. */
  readonly tty?: { readonly rows: number; readonly cols: number };
  readonly signal?: AbortSignal;
}

/**
 * A process in a container. Every stream must be read or cancelled; disposing ends the connection and leaves nothing
 * pending. The process then sees the end of its stdin; one that does not read it goes on.
 */
export interface Process extends AsyncDisposable {
  readonly stdin: WritableStream<Uint8Array>;
  readonly stdout: ReadableStream<Uint8Array>;
  readonly stderr: ReadableStream<Uint8Array>;
  /** The exit code, once both streams have ended. Rejects with `sandbox_lost` when the container goes first. */
  wait(): Promise<number>;
  resize(rows: number, cols: number): Promise<void>;
}

export interface Usage {
  /** Bytes in use, and the limit. */
  readonly memory: number;
  readonly memoryLimit: number;
  readonly cpuSeconds: number;
  readonly pids: number;
  readonly pidsLimit: number;
}

export interface ContainerState {
  readonly running: boolean;
  readonly paused: boolean;
  readonly exitCode: number | null;
  readonly oomKilled: boolean;
}

export type RuntimeEvent =
  | { readonly type: 'die'; readonly container: string; readonly exitCode: number }
  | { readonly type: 'oom'; readonly container: string }
  | { readonly type: 'destroy'; readonly container: string }
  | { readonly type: 'reconnected' };
