import type { FilesPort, OpenFile, ShellPort, TerminalsPort, Workspace } from '../workspace.ts';

/** A call about to be made on a workspace. */
export interface WorkspaceCall {
  /** From a fixed set: `shell.run`, `files.write`, … */
  readonly op: string;
  /** What was asked for, as JSON can hold it: no streams, signals or callbacks. */
  readonly args: readonly unknown[];
}

/** How a call ended. */
export interface WorkspaceEnd {
  readonly ms: number;
  /** What it resolved with; absent when it failed or its result is a stream. */
  readonly result?: unknown;
  readonly error?: unknown;
  /** Bytes that went into the sandbox as a stream. */
  readonly bytesIn: number;
  /** Bytes that came out of it as a stream. */
  readonly bytesOut: number;
}

/** Told of each call; what it returns is told of the call's end. A call with a stream ends with its stream. */
export type Observer = (call: WorkspaceCall) => (end: WorkspaceEnd) => Promise<void> | void;

/** The workspace as it is, with somebody watching. A caller gets an answer once the observer has taken note of it. */
export function observed(workspace: Workspace, observer: Observer): Workspace {
  const watch = new Watch(observer);
  return {
    handle: workspace.handle,
    shell: observedShell(workspace.shell, watch),
    files: observedFiles(workspace.files, watch),
    terminals: observedTerminals(workspace.terminals, watch),
    ports: workspace.ports,
    status: () => watch.call('status', [], () => workspace.status()),
  };
}

class Watch {
  readonly #observer: Observer;
  constructor(observer: Observer) {
    this.#observer = observer;
  }

  async call<T>(op: string, args: readonly unknown[], work: (count: Count) => Promise<T>): Promise<T> {
    const count = { in: 0, out: 0 };
    const end = this.#begin(op, args, count);
    try {
      const result = await work(count);
      await end({ result });
      return result;
    } catch (error) {
      await end({ error });
      throw error;
    }
  }

  /** Ends with the stream: read to its end, cancelled, or broken. */
  async stream(
    op: string,
    args: readonly unknown[],
    work: () => Promise<ReadableStream<Uint8Array>>,
  ): Promise<ReadableStream<Uint8Array>> {
    const count = { in: 0, out: 0 };
    const end = this.#begin(op, args, count);
    try {
      return followed(await work(), (bytes) => (count.out += bytes), end);
    } catch (error) {
      await end({ error });
      throw error;
    }
  }

  /** A read of an open file ends with its stream or with the file. */
  file(path: string, file: OpenFile): OpenFile {
    const ends: ((outcome: object) => Promise<void>)[] = [];
    return {
      stat: file.stat,
      tag: file.tag,
      read: (range) => {
        const count = { in: 0, out: 0 };
        const end = this.#begin('files.read', [path, range], count);
        ends.push(end);
        return followed(file.read(range), (bytes) => (count.out += bytes), end);
      },
      async [Symbol.asyncDispose]() {
        await file[Symbol.asyncDispose]();
        for (const end of ends) await end({});
      },
    };
  }

  #begin(op: string, args: readonly unknown[], count: Count) {
    const started = performance.now();
    const end = this.#observer({ op, args: args.map(plain) });
    let ended = false;
    return async (outcome: { result?: unknown; error?: unknown }): Promise<void> => {
      if (ended) return;
      ended = true;
      await end({ ms: performance.now() - started, bytesIn: count.in, bytesOut: count.out, ...outcome });
    };
  }
}

interface Count {
  in: number;
  out: number;
}

function plain(arg: unknown): unknown {
  if (arg === null || typeof arg !== 'object' || arg instanceof AbortSignal)
    return typeof arg === 'object' ? null : arg;
  const kept = Object.entries(arg).filter(
    ([, value]) => typeof value !== 'function' && !(value instanceof AbortSignal),
  );
  return Object.fromEntries(kept);
}

/** The stream with its bytes counted, pulled no faster than it is read. */
function followed(
  stream: ReadableStream<Uint8Array>,
  onBytes: (count: number) => void,
  onEnd: (outcome: { error?: unknown }) => Promise<void>,
): ReadableStream<Uint8Array> {
  const reader = stream.getReader();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (!done) {
            onBytes(value.byteLength);
            controller.enqueue(value);
            return;
          }
          await onEnd({});
          controller.close();
        } catch (error) {
          await onEnd({ error });
          controller.error(error);
        }
      },
      async cancel(reason) {
        await reader.cancel(reason);
        await onEnd({});
      },
    },
    { highWaterMark: 0 },
  );
}

function counting(stream: ReadableStream<Uint8Array>, count: Count): ReadableStream<Uint8Array> {
  return followed(
    stream,
    (bytes) => (count.in += bytes),
    async () => {},
  );
}

function observedShell(shell: ShellPort, watch: Watch): ShellPort {
  return {
    run: (command, options) => watch.call('shell.run', [command, options], () => shell.run(command, options)),
    check: (id, options) => watch.call('shell.check', [id, options], () => shell.check(id, options)),
    stop: (id, signal) => watch.call('shell.stop', [id, signal], () => shell.stop(id, signal)),
    cwd: () => watch.call('shell.cwd', [], () => shell.cwd()),
    reset: () => watch.call('shell.reset', [], () => shell.reset()),
  };
}

function observedFiles(files: FilesPort, watch: Watch): FilesPort {
  return {
    stat: (path, signal) => watch.call('files.stat', [path], () => files.stat(path, signal)),
    open: async (path, signal) =>
      watch.file(path, await watch.call('files.open', [path], () => files.open(path, signal))),
    read: (path, options) => watch.stream('files.read', [path, options], () => files.read(path, options)),
    write: (path, body, options) =>
      watch.call('files.write', [path, options], (count) => files.write(path, counting(body, count), options)),
    list: (path, options) => watch.call('files.list', [path, options], () => files.list(path, options)),
    edit: (path, oldText, newText, options) =>
      watch.call('files.edit', [path, oldText, newText, options], () => files.edit(path, oldText, newText, options)),
    archive: (path, signal) => watch.stream('files.archive', [path], () => files.archive(path, signal)),
    unpack: (path, tar, signal) =>
      watch.call('files.unpack', [path], (count) => files.unpack(path, counting(tar, count), signal)),
  };
}

function observedTerminals(terminals: TerminalsPort, watch: Watch): TerminalsPort {
  return {
    start: (options) => watch.call('terminals.start', [options], () => terminals.start(options)),
    send: (id, input) => watch.call('terminals.send', [id, input], () => terminals.send(id, input)),
    read: (id, options) => watch.call('terminals.read', [id, options], () => terminals.read(id, options)),
    resize: (id, cols, rows) =>
      watch.call('terminals.resize', [id, cols, rows], () => terminals.resize(id, cols, rows)),
    list: () => watch.call('terminals.list', [], () => terminals.list()),
    end: (id) => watch.call('terminals.end', [id], () => terminals.end(id)),
    watch: (id, signal) => watch.call('terminals.watch', [id], () => terminals.watch(id, signal)),
  };
}
