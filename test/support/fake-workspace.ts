import { setTimeout as sleep } from 'node:timers/promises';
import { createHash, randomUUID } from 'node:crypto';
import { AppError, isDraining } from '../../src/errors.ts';
import { noPorts } from '../../src/sandbox/session/wire/dials.ts';
import type {
  CommandPage,
  CommandResult,
  FilesPort,
  Output,
  RunOptions,
  SandboxStatus,
  ShellPort,
  SentInput,
  TerminalInfo,
  TerminalsPort,
  Workspace,
  WriteOptions,
} from '../../src/sandbox/ports/workspace.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const whole = (head: Uint8Array): Output => ({
  head,
  tail: new Uint8Array(),
  omitted: 0,
  total: head.length,
  dropped: 0,
});

/** A workspace without a computer. Its shell knows `echo`, `err`, `hex`, `flood`, `sleep`, `exit`, `cd` and `pwd`, joined by `;`. */
export class FakeWorkspace implements Workspace {
  readonly handle: string;
  readonly shell: FakeShell;
  readonly files: FakeFiles;
  readonly terminals: FakeTerminals;
  readonly ports = noPorts;
  readonly #status: () => SandboxStatus;

  constructor(handle: string, status: () => SandboxStatus) {
    this.handle = handle;
    this.shell = new FakeShell();
    this.files = new FakeFiles();
    this.terminals = new FakeTerminals();
    this.#status = status;
  }

  async status(): Promise<SandboxStatus> {
    return this.#status();
  }
}

class FakeShell implements ShellPort {
  /** Commands that were interrupted. */
  readonly interrupted: string[] = [];
  #cwd = '/workspace';
  readonly #commands = new Map<
    string,
    { result: Promise<CommandResult>; done?: CommandResult; stop: AbortController; command: string }
  >();

  async run(command: string, options: RunOptions = {}): Promise<CommandResult> {
    const id = `c${this.#commands.size + 1}`;
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, ...(options.signal ? [options.signal] : [])]);
    const entry = {
      result: this.#execute(id, command, signal, options),
      stop,
      command,
      done: undefined as CommandResult | undefined,
    };
    this.#commands.set(id, entry as never);
    void entry.result.then((result) => (entry.done = result));
    if (options.wait === undefined) return entry.result;
    const early = sleep(options.wait * 1000).then(() => this.#result(id, command, 'running', null, [], []));
    return Promise.race([entry.result, early]);
  }

  async #execute(id: string, command: string, signal: AbortSignal, options: RunOptions): Promise<CommandResult> {
    const out: Uint8Array[] = [];
    const err: Uint8Array[] = [];
    let exit = 0;
    for (const part of command.split(';').map((text) => text.trim())) {
      const [word = '', rest = ''] = part.split(/ (.*)/s);
      if (word === 'echo') out.push(bytes(`${rest}\n`));
      else if (word === 'err') err.push(bytes(`${rest}\n`));
      else if (word === 'hex') out.push(Buffer.from(rest, 'hex'));
      else if (word === 'pwd') out.push(bytes(`${this.#cwd}\n`));
      else if (word === 'cd') this.#cwd = rest;
      else if (word === 'flood') return this.#flood(id, command, Number(rest));
      else if (word === 'exit') exit = Number(rest);
      else if (word === 'sleep') await sleep(Number(rest) * 1000, undefined, { signal }).catch(() => undefined);
      else [exit] = [127, err.push(bytes(`bash: line 1: ${word}: command not found\n`))];
      if (isDraining(signal.reason)) return this.#result(id, command, 'running', null, out, err);
      if (signal.aborted) return this.#cancelled(id, command);
      if (word === 'echo') options.onOutput?.('stdout', out.at(-1)!);
    }
    return this.#result(id, command, exit === 0 ? 'success' : 'error', exit, out, err);
  }

  #cancelled(id: string, command: string): CommandResult {
    this.interrupted.push(command);
    const cause = { code: 'cancelled', message: 'The command was cancelled by its caller.' } as const;
    return { ...this.#result(id, command, 'cancelled', 130, [], []), cause };
  }

  #flood(id: string, command: string, total: number): CommandResult {
    const head = bytes('head\n');
    const tail = bytes('tail\n');
    const stdout = { head, tail, omitted: total - head.length - tail.length, total, dropped: 0 };
    return { ...this.#result(id, command, 'success', 0, [], []), stdout };
  }

  #result(
    commandId: string,
    command: string,
    status: CommandResult['status'],
    exitCode: number | null,
    out: Uint8Array[],
    err: Uint8Array[],
  ): CommandResult {
    return {
      commandId,
      command,
      status,
      exitCode,
      stdout: whole(Buffer.concat(out)),
      stderr: whole(Buffer.concat(err)),
      executionTime: 0.05,
      cwd: this.#cwd,
      shellRestarted: false,
      background: false,
    };
  }

  async check(
    commandId: string,
    options: { offset?: number; errOffset?: number; wait?: number } = {},
  ): Promise<CommandPage> {
    const entry = this.#commands.get(commandId);
    if (!entry) throw new AppError('not_found', `No command "${commandId}" is known here.`);
    if (!entry.done && options.wait) await Promise.race([entry.result, sleep(options.wait * 1000)]);
    const page = (output: Output | undefined, offset = 0) => {
      const all = output ? Buffer.concat([output.head, output.tail]) : Buffer.alloc(0);
      return { bytes: all.subarray(offset), offset, next: all.length, evicted: 0, total: all.length };
    };
    const { done } = entry;
    return {
      commandId,
      command: entry.command,
      status: done?.status ?? 'running',
      exitCode: done?.exitCode ?? null,
      stdout: page(done?.stdout, options.offset),
      stderr: page(done?.stderr, options.errOffset),
      executionTime: done?.executionTime ?? 0.01,
      cwd: this.#cwd,
      background: false,
      ...(done?.cause && { cause: done.cause }),
    };
  }

  async stop(commandId: string): Promise<CommandPage> {
    const entry = this.#commands.get(commandId);
    if (!entry) throw new AppError('not_found', `No command "${commandId}" is known here.`);
    entry.stop.abort();
    await entry.result;
    return this.check(commandId);
  }

  async cwd(): Promise<string> {
    return this.#cwd;
  }

  async reset(): Promise<void> {
    this.#cwd = '/workspace';
  }
}

class FakeFiles implements FilesPort {
  readonly stored = new Map<string, Uint8Array>();

  #get(path: string): Uint8Array {
    const found = this.stored.get(absolute(path));
    if (!found) throw new AppError('not_found', `There is no file ${absolute(path)}.`);
    return found;
  }

  async stat(path: string) {
    const size = this.#get(path).length;
    return { path: absolute(path), type: 'file' as const, size, mtime: 1_700_000_000, mode: 0o644 };
  }

  async open(path: string) {
    const stat = await this.stat(path);
    const content = this.#get(path);
    return {
      stat,
      tag: createHash('sha256').update(content).digest('hex').slice(0, 16),
      read: ({ offset = 0, length = content.length } = {}) =>
        new Blob([content.slice(offset, offset + length)]).stream(),
      [Symbol.asyncDispose]: async () => {},
    };
  }

  async read(path: string, options: { offset?: number; length?: number } = {}) {
    const from = options.offset ?? 0;
    const part = this.#get(path).subarray(from, options.length === undefined ? undefined : from + options.length);
    return new Blob([part as Uint8Array<ArrayBuffer>]).stream();
  }

  async write(path: string, body: ReadableStream<Uint8Array>, { limit = Infinity }: WriteOptions = {}) {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of body) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > limit) throw new AppError('too_large', `The content must be at most ${limit} bytes.`);
    }
    const content = new Uint8Array(Buffer.concat(chunks));
    this.stored.set(absolute(path), content);
    return { path: absolute(path), size: content.length, sha256: createHash('sha256').update(content).digest('hex') };
  }

  async list(path: string) {
    const base = `${absolute(path)}/`;
    const entries = [...this.stored]
      .filter(([name]) => name.startsWith(base))
      .map(([name, content]) => ({
        path: name.slice(base.length),
        type: 'file' as const,
        size: content.length,
        mtime: 1_700_000_000,
        mode: 0o644,
      }));
    return { entries, truncated: false };
  }

  async edit(path: string, oldText: string, newText: string, options: { all?: boolean } = {}) {
    const text = new TextDecoder().decode(this.#get(path));
    const count = text.split(oldText).length - 1;
    if (count === 0) throw new AppError('not_found', `\`old_text\` does not occur in ${absolute(path)}.`);
    const edited = options.all ? text.replaceAll(oldText, newText) : text.replace(oldText, newText);
    this.stored.set(absolute(path), bytes(edited));
    return { path: absolute(path), count: options.all ? count : 1, lines: [{ from: 1, text: edited }] };
  }

  async makeDirectory(): Promise<never> {
    throw new AppError('unsupported', 'The fake has no directories.');
  }

  async remove(path: string) {
    this.#get(path);
    this.stored.delete(absolute(path));
    return { path: absolute(path), type: 'file' as const };
  }

  async move(from: string, to: string) {
    const content = this.#get(from);
    if (this.stored.has(absolute(to))) throw new AppError('conflict', `${absolute(to)} is there already.`);
    this.stored.set(absolute(to), content);
    this.stored.delete(absolute(from));
    return { from: absolute(from), to: absolute(to) };
  }

  async archive(): Promise<never> {
    throw new AppError('unsupported', 'The fake has no archives.');
  }

  async search(query: string) {
    const found = Array.from(this.stored.keys()).filter((path) => path.includes(query));
    const matches = found.map((path) => ({
      path: path.replace('/workspace/', ''),
      type: 'file' as const,
      name: true,
      lines: [],
    }));
    return { matches, truncated: false };
  }

  async zip(): Promise<never> {
    throw new AppError('unsupported', 'The fake has no archives.');
  }

  async unpack(): Promise<never> {
    throw new AppError('unsupported', 'The fake has no archives.');
  }
}

class FakeTerminals implements TerminalsPort {
  readonly #open = new Map<string, { info: TerminalInfo; output: string; total: number }>();

  #get(id: string) {
    const found = this.#open.get(id);
    if (!found) throw new AppError('not_found', `No terminal "${id}" is open here.`);
    return found;
  }

  async start(options: { cols?: number; rows?: number; command?: string } = {}): Promise<TerminalInfo> {
    const { cols = 80, rows = 24, command = 'bash' } = options;
    const started = new Date(0).toISOString();
    const info = { sessionId: randomUUID(), command, rows, cols, started, exited: false, exitCode: null, watchers: 0 };
    this.#open.set(info.sessionId, { info, output: '', total: 0 });
    return info;
  }

  async send(id: string, input: { input?: string; raw?: boolean; keys?: readonly string[] }): Promise<SentInput> {
    const terminal = this.#get(id);
    const text = (input.input ?? '') + (input.keys ?? []).map((key) => `<${key}>`).join('');
    terminal.output += input.raw || input.input === undefined ? text : `${text}\n`;
    terminal.total = terminal.total + text.length;
    return { pasted: false, longLine: null };
  }

  async read(id: string, options: { mode?: 'streaming' | 'snapshot' } = {}) {
    const terminal = this.#get(id);
    const { output, total, info } = terminal;
    const mode = options.mode ?? 'streaming';
    if (mode === 'streaming') terminal.output = '';
    return {
      output,
      mode,
      totalBytesReceived: total,
      truncated: false,
      originalSize: output.length,
      isSnapshot: mode === 'snapshot',
      ...(mode === 'snapshot' && { snapshotTime: new Date(0).toISOString() }),
      cursor: { row: 0, col: 0 },
      size: { rows: info.rows, cols: info.cols },
      alternateScreen: false,
      dropped: 0,
      exited: info.exited,
      exitCode: info.exitCode,
    };
  }

  async resize(id: string, cols: number, rows: number): Promise<void> {
    const terminal = this.#get(id);
    terminal.info = { ...terminal.info, cols, rows };
  }

  async list(): Promise<TerminalInfo[]> {
    return [...this.#open.values()].map(({ info }) => info);
  }

  async end(id: string): Promise<TerminalInfo> {
    const { info } = this.#get(id);
    this.#open.delete(id);
    return { ...info, exited: true, exitCode: 0 };
  }

  async watch(): Promise<never> {
    throw new AppError('unsupported', 'The fake has no live terminals.');
  }
}

const absolute = (path: string): string => (path.startsWith('/') ? path : `/workspace/${path}`).replace(/\/\.?$/, '');
