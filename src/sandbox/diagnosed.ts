import type { Diagnosis } from './diagnosis/diagnose.ts';
import type { Cause, CommandPage, CommandStatus, Output, ShellPort, Workspace } from './workspace.ts';

const tailBytes = 4096;
const remembered = 64;
const slack = 50;

interface Ended {
  readonly commandId: string;
  readonly command: string;
  readonly status: CommandStatus;
  readonly exitCode: number | null;
  readonly executionTime: number;
  readonly cause?: Cause;
}

/** The workspace, whose failed commands say why they failed where that can be found out. */
export function diagnosed(workspace: Workspace, diagnosis: Pick<Diagnosis, 'explain'>): Workspace {
  return {
    handle: workspace.handle,
    shell: explained(workspace.shell, diagnosis),
    files: workspace.files,
    terminals: workspace.terminals,
    status: () => workspace.status(),
  };
}

function explained(shell: ShellPort, diagnosis: Pick<Diagnosis, 'explain'>): ShellPort {
  const known = new Map<string, Promise<Cause | undefined>>();
  /** When commands began that did not end well at once; milliseconds on the monotonic clock. */
  const began = new Map<string, number>();
  const withCause = async <T extends Ended>(ended: T, stdout: Uint8Array, stderr: Uint8Array): Promise<T> => {
    if (ended.status !== 'error' || ended.cause) return ended;
    const cause = await causeOf(ended, stdout, stderr);
    return cause ? { ...ended, cause } : ended;
  };
  const causeOf = (ended: Ended, stdout: Uint8Array, stderr: Uint8Array): Promise<Cause | undefined> => {
    const { commandId, command, exitCode } = ended;
    const before = known.get(commandId);
    if (before) return before;
    const failure = { command, exitCode, stdout: lastText(stdout), stderr: lastText(stderr) };
    return remember(known, commandId, diagnosis.explain(failure, began.get(commandId) ?? beginOf(ended)));
  };
  /** A page may be any part of the output; what a failure says is at the end. */
  const page = async (found: CommandPage): Promise<CommandPage> => {
    if (found.status !== 'error' || found.cause) return found;
    const offset = Math.max(0, found.stdout.total - tailBytes);
    const errOffset = Math.max(0, found.stderr.total - tailBytes);
    const { stdout, stderr } = await shell.check(found.commandId, { offset, errOffset });
    return await withCause(found, stdout.bytes, stderr.bytes);
  };
  return {
    run: async (command, options) => {
      const called = performance.now();
      const result = await shell.run(command, options);
      if (result.status !== 'success') remember(began, result.commandId, Math.max(called, beginOf(result)));
      return await withCause(result, lastOf(result.stdout), lastOf(result.stderr));
    },
    check: async (id, options) => await page(await shell.check(id, options)),
    stop: async (id, signal) => await page(await shell.stop(id, signal)),
    cwd: () => shell.cwd(),
    reset: () => shell.reset(),
  };
}

/** Milliseconds on the monotonic clock, a little early rather than late. */
function beginOf({ executionTime }: Ended): number {
  return performance.now() - executionTime * 1000 - slack;
}

function remember<T>(map: Map<string, T>, id: string, value: T): T {
  if (!map.has(id)) map.set(id, value);
  for (const oldest of map.keys()) if (map.size > remembered) map.delete(oldest);
  return value;
}

function lastOf({ head, tail }: Output): Uint8Array {
  return tail.length > 0 ? tail : head;
}

function lastText(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes.subarray(-tailBytes));
}
