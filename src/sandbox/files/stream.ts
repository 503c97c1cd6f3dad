import type { ScriptRun } from './run.ts';
import { MarkedBody } from './marked-body.ts';

export interface MarkedStreamOptions {
  /** The bytes due: the stream ends there, whatever the script has more. Absent: to the mark. */
  readonly length?: number;
  /** Called when the mark comes (before `length` bytes, where that is given); what it returns errors the stream. */
  readonly onEnd: (exitCode: number) => Error | undefined | Promise<Error | undefined>;
}

/** A script's output up to the mark, one chunk for each pull. Its end and its cancellation end the script. */
export function markedStream(run: ScriptRun, mark: string, options: MarkedStreamOptions): ReadableStream<Uint8Array> {
  const body = new MarkedBody(run.output, mark);
  let due = options.length ?? Infinity;

  async function pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    const bytes = due === 0 ? null : await body.next().catch(() => null);
    if (bytes === null) return await end(controller);
    const piece = bytes.length > due ? bytes.subarray(0, due) : bytes;
    due -= piece.length;
    controller.enqueue(piece);
    if (due === 0) await end(controller);
  }

  async function end(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    const error = due === 0 ? undefined : await failure();
    await run[Symbol.asyncDispose]();
    if (error === undefined) controller.close();
    else controller.error(error);
  }

  async function failure(): Promise<unknown> {
    if (body.exitCode !== null) return await options.onEnd(body.exitCode);
    return await run.death().catch((error: unknown) => error);
  }

  return new ReadableStream({ pull, cancel: () => run[Symbol.asyncDispose]() }, { highWaterMark: 0 });
}
