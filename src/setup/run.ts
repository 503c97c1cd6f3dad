import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { SetupError } from './error.ts';
import type { Step } from './progress.ts';

/** Runs a program of the host; its output goes to the log, its last line to the step. Rejects when it fails. */
export async function run(
  step: Step,
  argv: readonly [string, ...string[]],
  env: Record<string, string> = {},
): Promise<void> {
  const [file, ...args] = argv;
  step.log.write(`$ ${argv.join(' ')}\n`);
  const child = spawn(file, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
    signal: step.signal,
  });
  const last: string[] = [];
  const read = [child.stdout, child.stderr].map((stream) => eachLine(stream, (line) => note(step, last, line)));
  const [code] = (await once(child, 'close')) as [number | null];
  await Promise.all(read);
  if (code !== 0)
    throw new SetupError(`"${argv.slice(0, 3).join(' ')}" failed (exit code ${code}):\n${last.join('\n')}`);
}

async function eachLine(stream: Readable, take: (line: string) => void): Promise<void> {
  for await (const line of createInterface({ input: stream, crlfDelay: Infinity })) take(line);
}

function note(step: Step, last: string[], line: string): void {
  step.log.write(`${line}\n`);
  step.detail(line.trim().slice(0, 100));
  if (last.push(line) > 8) last.shift();
}
