import type { Container, ExecOptions } from '../../src/sandbox/ports/runtime.ts';

export interface Ran {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number;
}

/** Runs a process to its end, with `input` as its whole stdin. */
export async function run(
  container: Container,
  argv: readonly string[],
  options: ExecOptions & { input?: string | Uint8Array } = {},
): Promise<Ran> {
  await using process = await container.exec(argv, options);
  const writer = process.stdin.getWriter();
  const feed = async () => {
    if (options.input?.length) await writer.write(Buffer.from(options.input));
    await writer.close();
  };
  const [stdout, stderr] = await Promise.all([
    new Response(process.stdout).text(),
    new Response(process.stderr).text(),
    feed().catch(() => {}),
  ]);
  return { stdout, stderr, code: await process.wait() };
}

/** A shell script's stdout; throws when it fails. */
export async function sh(container: Container, script: string): Promise<string> {
  const { stdout, stderr, code } = await run(container, ['sh', '-c', script]);
  if (code !== 0) throw new Error(`exit code ${code} of ${script}: ${stderr || stdout}`);
  return stdout;
}

/** Waits until `holds` does, at most `seconds`: by default, for longer than a busy machine stands still. */
export async function eventually(holds: () => boolean | Promise<boolean>, seconds = 20): Promise<void> {
  for (const end = performance.now() + seconds * 1000; performance.now() < end;) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`did not hold within ${seconds} s: ${holds}`);
}
