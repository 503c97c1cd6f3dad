/**
 * What a caller can do with one sandbox. MCP tools, HTTP routes and WebSockets hold nothing else, so that a decorator
 * over this interface (audit, metrics) sees every call.
 */
export interface Workspace {
  /** The sandbox's handle: a name, not a capability. */
  readonly handle: string;
  readonly shell: ShellPort;
  readonly files: FilesPort;
  readonly terminals: TerminalsPort;
  status(): Promise<SandboxStatus>;
}

export type CommandStatus = 'success' | 'error' | 'timeout' | 'running' | 'cancelled' | 'sandbox_lost';

/** Why a command failed, where that is known. */
export interface Cause {
  readonly code:
    | 'out_of_memory'
    | 'disk_full'
    | 'pids_limit'
    | 'egress_denied'
    | 'timeout'
    | 'cancelled'
    | 'sandbox_lost'
    | 'unsupported';
  /** One sentence for the model, with numbers. */
  readonly message: string;
}

/** One stream of a command as it is shown: the first and the last bytes where it is too long. */
export interface Output {
  /** Bytes as they came; with `omitted` > 0 the head, then the tail. */
  readonly head: Uint8Array;
  readonly tail: Uint8Array;
  /** Bytes between head and tail that are not shown. */
  readonly omitted: number;
  /** All bytes the command wrote to the stream. */
  readonly total: number;
  /** Bytes lost while no server was reading. */
  readonly dropped: number;
}

export interface CommandResult {
  readonly commandId: string;
  readonly command: string;
  readonly status: CommandStatus;
  /** As bash gives it, 128 + n for signal n. `null` while running or when it did not run. */
  readonly exitCode: number | null;
  readonly stdout: Output;
  readonly stderr: Output;
  /** Seconds. */
  readonly executionTime: number;
  readonly cwd: string;
  readonly cause?: Cause;
  /** The shell ended during the command and was started again with its directory, variables and functions. */
  readonly shellRestarted: boolean;
  /** Processes of this command still hold its output. */
  readonly background: boolean;
}

/** A part of a command's output, from an offset on. Offsets count bytes of that stream from 0. */
export interface OutputPage {
  readonly bytes: Uint8Array;
  readonly offset: number;
  /** Where the next page begins. */
  readonly next: number;
  /** Bytes between the asked offset and `offset` that are no longer held. */
  readonly evicted: number;
  readonly total: number;
}

export interface CommandPage {
  readonly commandId: string;
  readonly command: string;
  readonly status: CommandStatus;
  readonly exitCode: number | null;
  readonly stdout: OutputPage;
  readonly stderr: OutputPage;
  readonly executionTime: number;
  readonly cwd: string;
  readonly cause?: Cause;
  readonly background: boolean;
}

export interface RunOptions {
  /** Seconds until the command is interrupted. Absent: the configured default; above the cap: refused. */
  readonly timeout?: number;
  /** Seconds after which the call returns `running`; the command goes on. */
  readonly wait?: number;
  /** Aborting interrupts the command and keeps the shell. */
  readonly signal?: AbortSignal;
  /** Called with each piece of output as it comes, for progress. Must not block. */
  readonly onOutput?: (stream: 'stdout' | 'stderr', bytes: Uint8Array) => void;
  /** Called once when the call has to queue, with its place (1 = next). */
  readonly onQueued?: (position: number) => void;
}

export interface ShellPort {
  /** Runs a command in the persistent shell, after the calls before it. Rejects `busy` when the queue is full. */
  run(command: string, options?: RunOptions): Promise<CommandResult>;
  /** `offset` for stdout and stderr in bytes; `wait` seconds for news. Rejects `not_found`. */
  check(
    commandId: string,
    options?: { offset?: number; errOffset?: number; wait?: number; signal?: AbortSignal },
  ): Promise<CommandPage>;
  /** Signals the command's processes and waits for the end, at most 3 s. */
  stop(commandId: string, signal: 'INT' | 'TERM' | 'KILL'): Promise<CommandPage>;
  cwd(): Promise<string>;
  /** A clean shell: no variables, functions, jobs of the old one. Files and terminals stay. */
  reset(): Promise<void>;
}

export interface FileEntry {
  /** Relative to the listed directory. */
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'other';
  readonly size: number;
  /** Seconds since the epoch. */
  readonly mtime: number;
  /** Permission bits, e.g. `0o644`. */
  readonly mode: number;
  /** Where a symbolic link points. */
  readonly target?: string;
}

export interface FileStat {
  readonly path: string;
  readonly type: FileEntry['type'];
  readonly size: number;
  readonly mtime: number;
  readonly mode: number;
}

/** An open regular file (or a directory, of which only `stat` is good). Dispose it, or read it to the end. */
export interface OpenFile extends AsyncDisposable {
  readonly stat: FileStat;
  /** Changes whenever the file does: letters, digits and dashes, fit for an ETag. */
  readonly tag: string;
  /** Streams `length` bytes from `offset` on, once; a file cut short meanwhile errors the stream. */
  read(range?: { offset?: number; length?: number }): ReadableStream<Uint8Array>;
}

/** Relative paths are under `/workspace`; results give absolute ones. Every operation runs as the sandbox's own user. */
export interface FilesPort {
  stat(path: string, signal?: AbortSignal): Promise<FileStat>;
  /** Opens a file, so that its facts are known before its bytes flow and belong to the same file. */
  open(path: string, signal?: AbortSignal): Promise<OpenFile>;
  /** Streams a regular file's bytes; `length` absent = to the end. */
  read(
    path: string,
    options?: { offset?: number; length?: number; signal?: AbortSignal },
  ): Promise<ReadableStream<Uint8Array>>;
  /** Writes a whole file, or nothing: a temporary name, checked, then renamed. Parent directories are made. */
  write(path: string, body: ReadableStream<Uint8Array>, options?: WriteOptions): Promise<WrittenFile>;
  list(
    path: string,
    options?: { depth?: number; glob?: string; signal?: AbortSignal },
  ): Promise<{ entries: FileEntry[]; truncated: boolean }>;
  /** Replaces `oldText`; it must occur exactly once unless `all`. */
  edit(
    path: string,
    oldText: string,
    newText: string,
    options?: { all?: boolean; signal?: AbortSignal },
  ): Promise<{ path: string; count: number; lines: { from: number; text: string }[] }>;
  /** A directory as a tar stream. */
  archive(path: string, signal?: AbortSignal): Promise<ReadableStream<Uint8Array>>;
  /**
   * Unpacks a tar stream into a directory: all of it, or nothing. Refused are names outside it, special files, and
   * entries to be written through a link of the archive.
   */
  unpack(
    path: string,
    tar: ReadableStream<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<{ files: number; bytes: number }>;
}

export interface WrittenFile {
  /** Absolute. */
  readonly path: string;
  readonly size: number;
  /** Hex digest. */
  readonly sha256: string;
  /** As `OpenFile.tag`. */
  readonly tag?: string;
  /** No file was there before. */
  readonly created?: boolean;
}

export interface WriteOptions {
  readonly mode?: number;
  /** Bytes; a longer body is refused as `too_large` and nothing is kept. */
  readonly limit?: number;
  /** Bytes expected; a shorter body is a broken upload and nothing is kept. */
  readonly size?: number;
  /** Hex digest expected; another body is refused as `invalid_argument` and nothing is kept. */
  readonly sha256?: string;
  /** The `tag` the file must still have; otherwise `conflict`. */
  readonly unchanged?: string;
  readonly signal?: AbortSignal;
}

export interface TerminalInfo {
  readonly sessionId: string;
  readonly command: string;
  readonly rows: number;
  readonly cols: number;
  /** ISO 8601. */
  readonly started: string;
  readonly exited: boolean;
  readonly exitCode: number | null;
  readonly watchers: number;
}

export interface TerminalRead {
  readonly output: string;
  readonly mode: 'streaming' | 'snapshot';
  /** All bytes the terminal has sent since it started. */
  readonly totalBytesReceived: number;
  readonly truncated: boolean;
  /** Bytes there were to return before truncation. */
  readonly originalSize: number;
  readonly isSnapshot: boolean;
  /** ISO 8601; only of a snapshot. */
  readonly snapshotTime?: string;
  readonly cursor: { readonly row: number; readonly col: number };
  readonly size: { readonly rows: number; readonly cols: number };
  readonly alternateScreen: boolean;
  /** Bytes lost since the last read because nobody read them. */
  readonly dropped: number;
  /** `until` was given and matched. */
  readonly matched?: boolean;
  readonly exited: boolean;
  readonly exitCode: number | null;
}

export interface TerminalReadOptions {
  readonly mode?: 'streaming' | 'snapshot';
  readonly maxBytes?: number;
  readonly snapshotSize?: number;
  /** Seconds to wait for output (with `until`: for the match). */
  readonly wait?: number;
  readonly until?: string;
  readonly signal?: AbortSignal;
}

export interface TerminalsPort {
  start(options?: { cols?: number; rows?: number; command?: string; cwd?: string }): Promise<TerminalInfo>;
  /** Text as typed; `keys` are names (`ctrl-c`, `up`, `f5`), sent after `input`. A newline is added unless `raw` or only keys. */
  send(id: string, input: { input?: string; raw?: boolean; keys?: readonly string[] }): Promise<void>;
  read(id: string, options?: TerminalReadOptions): Promise<TerminalRead>;
  resize(id: string, cols: number, rows: number): Promise<void>;
  list(): Promise<TerminalInfo[]>;
  end(id: string): Promise<TerminalInfo>;
  /** A live view: first what the screen holds, then raw bytes. Closing it leaves the terminal as it is. */
  watch(id: string, signal: AbortSignal, options?: WatchOptions): Promise<TerminalWatch>;
}

export interface WatchOptions {
  /** Nobody looks: the view takes no viewer's place and does not keep the sandbox from being idled out. */
  readonly uncounted?: boolean;
}

export interface TerminalWatch {
  readonly info: TerminalInfo;
  /** The first chunk repaints the screen as it is. A watcher that falls too far behind gets a repaint, not a gap. */
  readonly output: ReadableStream<Uint8Array>;
  write(bytes: Uint8Array): Promise<void>;
  resize(cols: number, rows: number): Promise<void>;
  readonly exited: Promise<number | null>;
}

export interface SandboxStatus {
  readonly sandbox: string;
  readonly state: 'running' | 'idle' | 'starting' | 'lost';
  readonly template: string;
  readonly image: string;
  /** ISO 8601. */
  readonly created: string;
  /** ISO 8601: when it is idled out if nothing happens; `null` while work keeps it. */
  readonly idleDeadline: string | null;
  /** ISO 8601: when its `ttl` ends; `null` without one. */
  readonly expires: string | null;
  readonly network: string;
  readonly limits: {
    readonly memory: number;
    readonly cpus: number;
    readonly pids: number;
    readonly tmp: number;
    readonly shm: number;
    readonly disk: number | null;
  };
  readonly usage: {
    readonly memory: number;
    readonly pids: number;
    readonly cpuSeconds: number;
    readonly processes: number;
    readonly terminals: number;
  };
  /** How the workspace's size is held: `none` says that nothing but the host's disk bounds it. */
  readonly diskQuota: string;
  readonly runtime: string;
  /** Sentences: what the last wake could not bring back. Empty when nothing was lost. */
  readonly lost: readonly string[];
  /** Sentences: what works only in part here (`session host unavailable: …`). */
  readonly degraded: readonly string[];
}
