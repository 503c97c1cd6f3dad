import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Readable, Writable } from 'node:stream';
import type { Container, ExecOptions, Process } from '../../src/sandbox/runtime.ts';

const refuse = () => Promise.reject(new Error('a local container has processes only'));

/** A container that is no container: its processes run on this machine. For what only needs processes and files. */
export function localContainer(): Container & { readonly running: Set<number> } {
  const running = new Set<number>();
  return {
    id: 'local',
    name: 'local',
    running,
    exec: async (argv, options = {}) => start(argv, options, running),
    usage: refuse,
    state: refuse,
    pause: refuse,
    resume: refuse,
    remove: refuse,
  };
}

async function start(argv: readonly string[], options: ExecOptions, running: Set<number>): Promise<Process> {
  const child = spawn(argv[0]!, argv.slice(1), {
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    env: { ...process.env, ...options.env },
    stdio: 'pipe',
  });
  await once(child, 'spawn');
  const closed = once(child, 'close').then(([code]) => (running.delete(child.pid!), (code as number | null) ?? 137));
  running.add(child.pid!);
  return {
    stdin: Writable.toWeb(child.stdin),
    stdout: Readable.toWeb(child.stdout) as ReadableStream<Uint8Array>,
    stderr: Readable.toWeb(child.stderr) as ReadableStream<Uint8Array>,
    wait: () => closed,
    resize: refuse,
    async [Symbol.asyncDispose]() {
      child.stdin.destroy();
      child.stdout.destroy();
      child.stderr.destroy();
    },
  };
}
