import { createHash } from 'node:crypto';
import { AppError } from '../../errors.ts';
import { detached } from '../../lib/detached.ts';

type Bytes = ReadableStream<Uint8Array>;

export interface HoldOptions {
  /** Called for each chunk. */
  readonly onChunk: () => void;
  /** Its abort breaks the body off, also while nobody reads. */
  readonly signal: AbortSignal;
  /** Called once with the reason when the body breaks off; has to end the connection. Absent: the stream errors. */
  readonly breakOff?: (error: unknown) => void;
  /** Called once, when the stream has ended, failed or been given up. */
  readonly release: () => Promise<void>;
}

/** A response body that holds something until it is over. Reads nothing ahead. */
export function holding(body: Bytes, { onChunk, signal, breakOff, release }: HoldOptions): Bytes {
  const reader = body.getReader();
  const over = new AbortController();

  async function end(): Promise<void> {
    if (over.signal.aborted) return;
    over.abort();
    await reader.cancel().catch(() => {});
    await release();
  }

  async function fail(controller: ReadableStreamDefaultController<Uint8Array>, error: unknown): Promise<void> {
    if (breakOff === undefined) controller.error(error);
    else if (!over.signal.aborted) breakOff(error);
    await end();
  }

  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const abort = () => void fail(controller, signal.reason);
        if (signal.aborted) return abort();
        signal.addEventListener('abort', abort, { once: true, signal: over.signal });
      },
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          onChunk();
          if (!done) return controller.enqueue(value);
          await end();
          controller.close();
        } catch (error) {
          await fail(controller, error);
        }
      },
      cancel: end,
    },
    { highWaterMark: 0 },
  );
}

export interface CheckOptions {
  readonly limit: number;
  /** Hex digest that all bytes together must have. */
  readonly sha256: string | undefined;
}

/** A request body that errors when it is too long, or at its end when its digest is another one. */
export async function* checked(
  body: AsyncIterable<Uint8Array>,
  { limit, sha256 }: CheckOptions,
): AsyncGenerator<Uint8Array> {
  const hash = sha256 === undefined ? undefined : createHash('sha256');
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > limit) throw new AppError('too_large', `The body must be at most ${limit} bytes; nothing was kept.`);
    hash?.update(chunk);
    yield chunk;
  }
  const digest = hash?.digest('hex');
  if (digest === sha256) return;
  throw new AppError('invalid_argument', `The body has SHA-256 ${digest}, not ${sha256}; nothing was kept.`);
}

/** As `ReadableStream.from`, which takes no queue: reads nothing ahead and tells of each chunk. */
export function streamOf(source: AsyncIterable<Uint8Array>, onChunk: () => void): Bytes {
  const iterator = source[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await iterator.next();
        onChunk();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel() {
        // Not awaited: it waits for a read under way, and so for a client that sends nothing.
        detached(iterator.return?.().catch(() => {}));
      },
    },
    { highWaterMark: 0 },
  );
}
