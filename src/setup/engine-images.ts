import { addAbortSignal, type Readable } from 'node:stream';
import type { Engine } from '../runtimes/docker/client.ts';
import { statusOf } from '../runtimes/docker/errors.ts';
import { SetupError } from './error.ts';
import type { Step } from './progress.ts';

/** The id of an image, undefined when the engine has none of that name. */
export async function imageId(engine: Engine, name: string): Promise<string | undefined> {
  try {
    const { Id } = await engine.call({ doing: 'look for an image' }, () => engine.docker.getImage(name).inspect());
    return Id;
  } catch (error) {
    if (statusOf(error) === 404) return undefined;
    throw error;
  }
}

/** A line of what an engine says while it pulls, imports or builds. */
interface EngineLine {
  readonly stream?: string;
  readonly status?: string;
  readonly error?: string;
}

type Start = (signal: AbortSignal) => Promise<NodeJS.ReadableStream>;

/**
 * Follows a long piece of engine work to its end and returns what a build printed. Rejects with what the engine says
 * when the work fails, and after `silence` milliseconds without a word.
 */
export async function follow(step: Step, start: Start, { silence = 600_000 } = {}): Promise<readonly string[]> {
  const controller = new AbortController();
  const quiet = () => controller.abort(new SetupError(`The engine said nothing for ${silence / 1000} s.`));
  const timer = setTimeout(quiet, silence);
  const stop = () => controller.abort(step.signal.reason);
  step.signal.addEventListener('abort', stop);
  const printed: string[] = [];
  try {
    const stream = addAbortSignal(controller.signal, (await start(controller.signal)) as Readable);
    for await (const line of linesOf(stream)) {
      timer.refresh();
      take(step, printed, JSON.parse(line));
    }
    return printed;
  } catch (error) {
    throw controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    clearTimeout(timer);
    step.signal.removeEventListener('abort', stop);
  }
}

async function* linesOf(stream: Readable): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of stream.setEncoding('utf8')) {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    yield* lines.filter((line) => line.trim() !== '');
  }
  if (rest.trim()) yield rest;
}

function take(step: Step, printed: string[], { stream, status, error }: EngineLine): void {
  if (error !== undefined) throw new SetupError(lastOf(printed, error));
  const line = (stream ?? status ?? '').trim();
  if (!line) return;
  step.log.write(`${line}\n`);
  step.detail(line.split('\n').at(-1)?.slice(0, 100) ?? '');
  if (stream) printed.push(line);
}

function lastOf(printed: readonly string[], error: string): string {
  return [...printed.slice(-5), error.trim()].join('\n');
}
