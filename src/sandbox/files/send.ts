import type { ScriptRun } from './run.ts';
import { detached } from '../../lib/detached.ts';

/** Pieces that may wait for the engine while the next is read and digested. */
const mostUnderWay = 4;

/**
 * Sends pieces to a script's stdin and ends it; resolves to what the script then says, which `spoken` carries. A script
 * that speaks earlier, or takes no more, stops the sending. A fault of the source ends stdin at once and is passed on.
 */
export async function sendAll<T>(
  run: ScriptRun,
  source: ReadableStreamDefaultReader<Uint8Array>,
  pieces: AsyncIterable<Uint8Array>,
  spoken: Promise<T>,
): Promise<T> {
  let over = false;
  const stop = () => {
    over = true;
    detached(source.cancel().catch(() => {}));
    detached(run.input.abort().catch(() => {}));
  };
  spoken.then(stop, stop);
  try {
    const underWay: Promise<boolean>[] = [];
    for await (const bytes of pieces) {
      underWay.push(taken(run, bytes));
      if (underWay.length > mostUnderWay && !(await underWay.shift())) break;
    }
  } catch (error) {
    if (over) return await spoken;
    await ended(run, spoken).catch(() => {});
    throw error;
  }
  return await ended(run, spoken);
}

/** False when the script takes no more. */
async function taken(run: ScriptRun, bytes: Uint8Array): Promise<boolean> {
  return await run.input.write(bytes).then(
    () => true,
    () => false,
  );
}

async function ended<T>(run: ScriptRun, spoken: Promise<T>): Promise<T> {
  await run.input.close().catch(() => {});
  return await spoken;
}
