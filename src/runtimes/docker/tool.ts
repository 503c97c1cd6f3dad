import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** System tools are in directories that an ordinary user's PATH leaves out. */
export const toolPath = `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`;
const env = { ...process.env, LC_ALL: 'C', PATH: toolPath };

/** Runs a program of the host and resolves to its stdout. Rejects with what it wrote to stderr. `input` is its stdin. */
export async function tool(file: string, args: readonly string[], input = ''): Promise<string> {
  const running = execute(file, args, { env, timeout: 30_000, maxBuffer: 1024 ** 2 });
  running.child.stdin?.on('error', () => {});
  running.child.stdin?.end(input);
  const { stdout } = await running;
  return stdout;
}
