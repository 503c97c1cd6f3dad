import { intercept } from '../intercept.ts';
import type { Diagnosis } from './diagnose.ts';
import type {
  Cause,
  CommandPage,
  CommandResult,
  CommandStatus,
  Output,
  RunOptions,
  ShellPort,
  Workspace,
} from '../../ports/workspace.ts';

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
  const explaining = new ExplainingShell(workspace.shell, diagnosis);
  return intercept(workspace, {
    shell: {
      run: (...args) => explaining.run(...args),
      check: (...args) => explaining.check(...args),
      stop: (...args) => explaining.stop(...args),
    },
  });
}

class ExplainingShell {
  readonly #shell: ShellPort;
  readonly #diagnosis: Pick<Diagnosis, 'explain'>;
  /** By command. What was found stays: a later look would see another state. */
  readonly #causes = new Map<string, Promise<Cause | undefined>>();
  /** When commands began that did not end well at once; milliseconds on the monotonic clock. */
  readonly #began = new Map<string, number>();

  constructor(shell: ShellPort, diagnosis: Pick<Diagnosis, 'explain'>) {
    this.#shell = shell;
    this.#diagnosis = diagnosis;
  }

  async run(command: string, options?: RunOptions): Promise<CommandResult> {
    const called = performance.now();
    const result = await this.#shell.run(command, options);
    if (result.status === 'success') return result;
    remember(this.#began, result.commandId, () => Math.max(called, beginOf(result)));
    return await this.#explained(result, lastOf(result.stdout), lastOf(result.stderr));
  }

  async check(...args: Parameters<ShellPort['check']>): Promise<CommandPage> {
    return await this.#explainedPage(await this.#shell.check(...args));
  }

  async stop(...args: Parameters<ShellPort['stop']>): Promise<CommandPage> {
    return await this.#explainedPage(await this.#shell.stop(...args));
  }

  /** A page may be any part of the output; what a failure says is at the end. */
  async #explainedPage(page: CommandPage): Promise<CommandPage> {
    if (page.status !== 'error' || page.cause) return page;
    const offset = Math.max(0, page.stdout.total - tailBytes);
    const errOffset = Math.max(0, page.stderr.total - tailBytes);
    const { stdout, stderr } = await this.#shell.check(page.commandId, { offset, errOffset });
    return await this.#explained(page, stdout.bytes, stderr.bytes);
  }

  async #explained<T extends Ended>(ended: T, stdout: Uint8Array, stderr: Uint8Array): Promise<T> {
    if (ended.status !== 'error' || ended.cause) return ended;
    const { commandId, command, exitCode } = ended;
    const failure = { command, exitCode, stdout: lastText(stdout), stderr: lastText(stderr) };
    const since = this.#began.get(commandId) ?? beginOf(ended);
    const cause = await remember(this.#causes, commandId, () => this.#diagnosis.explain(failure, since));
    return cause ? { ...ended, cause } : ended;
  }
}

/** Milliseconds on the monotonic clock, a little early rather than late. */
function beginOf({ executionTime }: Ended): number {
  return performance.now() - executionTime * 1000 - slack;
}

/** The value that the map has, or a new one; the oldest of too many go. */
function remember<T>(map: Map<string, T>, id: string, make: () => T): T {
  const value = map.get(id) ?? make();
  map.set(id, value);
  for (const oldest of map.keys()) if (map.size > remembered) map.delete(oldest);
  return value;
}

function lastOf({ head, tail }: Output): Uint8Array {
  return tail.length > 0 ? tail : head;
}

function lastText(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes.subarray(-tailBytes));
}
