import { ownBash } from '../lib/own-bash.ts';
import type { Container } from '../sandbox/ports/runtime.ts';
import { detached } from '../lib/detached.ts';

/** The bash that every sandbox has, whatever its image. */
const bash = '/opt/berth/bash';
const longest = 256 * 1024;

/** Runs a script of bash alone; what it wrote on both streams, cut at a bound, and its exit code. Its stdin stays open. */
export async function script(
  container: Container,
  text: string,
  { args = [], signal }: { args?: readonly string[]; signal: AbortSignal },
): Promise<{ readonly output: string; readonly code: number }> {
  const { argv, env } = ownBash(bash, `exec 2>&1\n${text}`, args);
  await using process = await container.exec(argv, { env, signal });
  const ended = Promise.all([bounded(process.stdout), bounded(process.stderr)]).then(async ([output]) => {
    return { output, code: await process.wait() };
  });
  return await orAborted(ended, signal);
}

/** As `script`, of a text that tries something. The words that it printed; rejects where it has not come to its end. */
export async function trial(container: Container, text: string, signal: AbortSignal): Promise<readonly string[]> {
  const { output } = await script(container, `${text}\necho ${wholly}`, { signal });
  const lines = output.split('\n').filter(Boolean);
  if (lines.pop() !== wholly) throw new Error(`its script ended early: ${lines.at(-1) ?? 'it printed nothing'}`);
  return lines;
}

const wholly = 'tried to the end';

/** Starts a script and looks no further. */
export async function begin(container: Container, text: string, signal: AbortSignal): Promise<AsyncDisposable> {
  const { argv, env } = ownBash(bash, text);
  const process = await container.exec(argv, { env, signal });
  for (const stream of [process.stdout, process.stderr]) detached(bounded(stream).catch(() => {}));
  detached(process.wait().catch(() => {}));
  return process;
}

async function bounded(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of stream) if (text.length < longest) text += decoder.decode(chunk, { stream: true });
  return text.slice(0, longest);
}

/** The promise's value; rejects with the signal's reason when that aborts first. */
export async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason as Error);
  signal.addEventListener('abort', abort);
  if (signal.aborted) abort();
  promise.catch(() => {});
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
