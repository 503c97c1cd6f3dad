import type { Duplex } from 'node:stream';

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
  readonly ports: PortsPort;
  status(): Promise<SandboxStatus>;
}

export type CommandStatus = 'success' | 'error' | 'timeout' | 'queued' | 'running' | 'cancelled' | 'sandbox_lost';

/** Whether the end of a command with this status is still to come. */
export function isOpen(status: CommandStatus): boolean {
  return status === 'queued' || status === 'running';
}

/** A command that a sandbox's shell runs, or that waits for its turn there. */
export interface ActiveCommand {
  readonly commandId: string;
  /** Its text; of a long one the beginning, at most 200 characters. */
  readonly command: string;
  readonly status: 'queued' | 'running';
  /** ISO 8601: when it began, or came into the queue. */
  readonly since: string;
}

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
  /** What the shell runs while this one waits for its turn. */
  readonly behind?: ActiveCommand;
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
  /** What the shell runs while this one waits for its turn. */
  readonly behind?: ActiveCommand;
}

/** A command as a list shows it. */
export interface CommandBrief {
  readonly commandId: string;
  readonly command: string;
  readonly status: CommandStatus;
  readonly exitCode: number | null;
  readonly cwd: string;
  /** Seconds since its end; undefined while it runs, and of one that never ran. */
  readonly endedFor: number | undefined;
  /** Bytes written so far. */
  readonly stdout: number;
  readonly stderr: number;
}

/**
 * A look at a running sandbox that counts as no use of it: nothing is audited or limited, and the sandbox is idled out as
 * if nobody had looked. For what a screen shows by itself, never for what somebody asked for.
 */
export interface Glance {
  readonly handle: string;
  readonly shell: Pick<ShellPort, 'check' | 'cwd'> & { commands(): readonly CommandBrief[] };
  readonly terminals: Pick<TerminalsPort, 'list'>;
  readonly files: Pick<FilesPort, 'stat' | 'list' | 'open'>;
  readonly ports: Pick<PortsPort, 'list'>;
}

export interface RunOptions {
  /** Seconds until the command is interrupted. Absent: the configured default; above the cap: refused. */
  readonly timeout?: number;
  /** Seconds after which the call returns `running`, or `queued`; the command goes on. Absent: the configured default. */
  readonly wait?: number;
  /** Aborting interrupts the command and keeps the shell. */
  readonly signal?: AbortSignal;
  /** Called with each piece of output as it comes, for progress. Must not block. */
  readonly onOutput?: (stream: 'stdout' | 'stderr', bytes: Uint8Array) => void;
  /** Called once when the call has to queue, with its place (1 = next) and what the shell runs, if it runs anything. */
  readonly onQueued?: (position: number, behind: ActiveCommand | undefined) => void;
}

export interface ShellPort {
  /** Runs a command in the persistent shell, after the calls before it. Rejects `busy` when the queue is full. */
  run(command: string, options?: RunOptions): Promise<CommandResult>;
  /**
   * `offset` for stdout and stderr in bytes; `wait` seconds for news. Without an id: of the command that runs, or else of
   * the one that ended last. Rejects `not_found`.
   */
  check(
    commandId: string | undefined,
    options?: { offset?: number; errOffset?: number; wait?: number; signal?: AbortSignal },
  ): Promise<CommandPage>;
  /** Signals the command's processes and waits for the end, at most 3 s. Without an id: of the command that runs. Rejects `not_found`. */
  stop(commandId: string | undefined, signal: 'INT' | 'TERM' | 'KILL'): Promise<CommandPage>;
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
  /** Whether the sandbox's user may write it; only where `writable` was asked for. */
  readonly writable?: boolean;
}

export interface ListOptions {
  /** Levels to go down. */
  readonly depth?: number;
  readonly glob?: string;
  /** Tell of the directory and of each entry whether it may be written. */
  readonly writable?: boolean;
  /** Tell of links what they lead to, one level deep; those that lead nowhere are left out. */
  readonly follow?: boolean;
  readonly signal?: AbortSignal;
}

export interface Listing {
  readonly entries: FileEntry[];
  /** There is more than the limits let through. */
  readonly truncated: boolean;
  /** Whether the directory may be written; only where that was asked for. */
  readonly writable?: boolean;
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
  list(path: string, options?: ListOptions): Promise<Listing>;
  /** Replaces `oldText`; it must occur exactly once unless `all`. */
  edit(
    path: string,
    oldText: string,
    newText: string,
    options?: { all?: boolean; signal?: AbortSignal },
  ): Promise<{ path: string; count: number; lines: { from: number; text: string }[] }>;
  /** Makes a directory and those above it; `conflict` when there is something of that name. */
  makeDirectory(path: string, signal?: AbortSignal): Promise<{ path: string }>;
  /** Removes a file or a link, never what that leads to; a directory only when empty, unless `recursive`. */
  remove(
    path: string,
    options?: { recursive?: boolean; signal?: AbortSignal },
  ): Promise<{ path: string; type: FileEntry['type'] }>;
  /**
   * Gives a file, link or directory another name; `conflict` when something has it, `invalid_argument` when the
   * directory that it would be in is missing.
   */
  move(from: string, to: string, signal?: AbortSignal): Promise<{ from: string; to: string }>;
  /** A directory as a tar stream. */
  archive(path: string, signal?: AbortSignal): Promise<ReadableStream<Uint8Array>>;
  /**
   * Files whose name, or a line of whose text, holds `query` in whatever case; those with the name first. Files over 1 MiB
   * and binary ones are found by their name alone.
   */
  search(query: string, options?: SearchOptions): Promise<SearchResult>;
  /**
   * Files and directories as a zip stream, links as links, their names below the directory that all are in. What can't be
   * read is named in the last entry.
   */
  zip(paths: readonly string[], signal?: AbortSignal): Promise<ReadableStream<Uint8Array>>;
  /**
   * Unpacks a tar stream into a directory: all of it, or nothing. Refused are names outside it, devices, and
   * entries to be written through a link of the archive. FIFOs are left out; the first hundred are named in `skipped`.
   */
  unpack(
    path: string,
    tar: ReadableStream<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<{ files: number; bytes: number; skipped?: string[] }>;
}

export interface SearchOptions {
  /** The directory to search; the workspace when left out. */
  readonly path?: string;
  /** Look at names; true when left out. */
  readonly names?: boolean;
  /** Look into files; true when left out. */
  readonly content?: boolean;
  /** What begins with a dot, too. */
  readonly hidden?: boolean;
  /** Files given, 1 to 1000; 100 when left out. */
  readonly limit?: number;
  readonly signal?: AbortSignal;
}

export interface FileMatch {
  /** Relative to the searched directory. */
  readonly path: string;
  readonly type: FileEntry['type'];
  /** Its name holds the query. */
  readonly name: boolean;
  /** At most three. `line` and `column` count from 1, columns in UTF-16 units; of a long line `text` is the part around. */
  readonly lines: readonly { readonly line: number; readonly column: number; readonly text: string }[];
}

export interface SearchResult {
  readonly matches: FileMatch[];
  /** There is more than the limit, or than 20 s of looking found. */
  readonly truncated: boolean;
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

export interface SentInput {
  /** It went in as one paste. */
  readonly pasted: boolean;
  /**
   * Bytes of a line above the 4,095 that the kernel keeps of one for a program that reads lines; `null` where none is, or
   * the program is known to read keys by itself.
   */
  readonly longLine: number | null;
}

export interface TerminalReadOptions {
  /**
   * Absent: the screen while a full-screen program holds it, and the screen with the scrollback since the last read where
   * the cursor went elsewhere than to the next line; otherwise streaming.
   */
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
  /**
   * Text as typed; `keys` are names (`ctrl-c`, `up`, `f5`), sent after `input`. A newline is added unless `raw` or only
   * keys. Where the program has turned bracketed paste on, text of several lines or with tabs is a paste unless `raw`.
   */
  send(id: string, input: { input?: string; raw?: boolean; keys?: readonly string[] }): Promise<SentInput>;
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

/** A port of the sandbox that a program listens on. All of it is the sandbox's own word. */
export interface ListeningPort {
  readonly port: number;
  /** Only programs in the sandbox could reach it if the sandbox had a network. */
  readonly loopback: boolean;
  /** 0 where it is not known. */
  readonly pid: number;
  /** Seconds that the program has run. */
  readonly age: number;
  /** At most 16 printable characters, empty where it is not known. */
  readonly program: string;
}

/** What listens in the sandbox. Everything rejects `unsupported` where no session host runs, or an earlier one. */
export interface PortsPort {
  /**
   * Connects to 127.0.0.1 or else ::1, or to a Unix socket by its absolute path. Rejects with an error whose `code` is
   * `ECONNREFUSED`, `ECONNRESET`, `EHOSTUNREACH` or `ETIMEDOUT`; the stream ends with the same ones. A Node stream, as HTTP takes no other.
   */
  dial(target: number | string, signal?: AbortSignal): Promise<Duplex>;
  /** By number, 128 at most. */
  list(): Promise<readonly ListeningPort[]>;
  /** Resolves with true when the port listens, with false when the signal aborts first. */
  waitFor(port: number, signal: AbortSignal): Promise<boolean>;
  /** What listened when the last command ended, or when somebody asked later. */
  latest(): readonly ListeningPort[];
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
  /** What the shell runs, then what waits for it in order. */
  readonly commands: readonly ActiveCommand[];
  /** How the workspace's size is held: `none` says that nothing but the host's disk bounds it. */
  readonly diskQuota: string;
  readonly runtime: string;
  /** Sentences: what the last wake could not bring back. Empty when nothing was lost. */
  readonly lost: readonly string[];
  /** Sentences: what works only in part here (`session host unavailable: …`). */
  readonly degraded: readonly string[];
}
