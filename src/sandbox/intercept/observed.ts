import { interceptAll, type Operation } from './intercept.ts';
import type { OpenFile, Workspace } from '../ports/workspace.ts';

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
  return interceptAll(workspace, (operation) => watchedBy(watch, operation));
}

function watchedBy(watch: Watch, { name, traffic, next }: Operation): Operation['next'] {
  const { body, gives } = traffic;
  const told = (args: readonly unknown[]) => args.filter((_, at) => at !== body);
  if (gives === 'stream')
    return (...args) => watch.stream(name, told(args), async () => (await next(...args)) as ReadableStream<Uint8Array>);
  if (gives === 'file')
    return async (...args) => {
      const file = await watch.call(name, told(args), async () => (await next(...args)) as OpenFile);
      return watch.file(String(args[0]), file);
    };
  return (...args) =>
    watch.call(name, told(args), (count) => {
      const sent = args.map((arg, at) => (at === body ? counting(arg as ReadableStream<Uint8Array>, count) : arg));
      return next(...sent);
    });
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
    const end = this.#observer({ op, args: args.filter((arg) => !(arg instanceof AbortSignal)).map(plain) });
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
  if (arg === null || typeof arg !== 'object') return arg;
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
