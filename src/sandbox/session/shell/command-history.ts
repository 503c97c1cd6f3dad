import type { Command } from './command.ts';
import type { OutputBudget, OutputHolder } from './output-budget.ts';

export interface HistoryOptions {
  /** Ended commands remembered. */
  readonly count: number;
  /** Bytes of output they may hold together. */
  readonly bytes: number;
  /** What they and those of other sandboxes may hold. */
  readonly budget?: OutputBudget | undefined;
  /** Called with a command that is remembered no more. */
  readonly forget: (command: Command) => void;
}

/**
 * The ended commands of a sandbox, the oldest first, and those that never ran but have a name. Those whose processes still write are the last to go, and none goes
 * whose own output is still on its way: somebody waits for it.
 */
export class CommandHistory implements OutputHolder, Disposable {
  readonly #options: HistoryOptions;
  readonly #commands = new Set<Command>();

  constructor(options: HistoryOptions) {
    this.#options = options;
  }

  add(command: Command): void {
    if (command.id === '') return;
    this.#commands.add(command);
    this.#trim();
    this.grown();
  }

  /** Keeps within its bounds after more output of processes that an ended command left behind. */
  grown(): void {
    this.#options.budget?.note(this, this.#bound());
  }

  giveUp(): void {
    for (const { stdout, stderr } of this.#commands) for (const { kept } of [stdout, stderr]) kept.clear();
  }

  [Symbol.dispose](): void {
    this.#options.budget?.note(this, 0);
  }

  byChannel(channel: number): Command | undefined {
    for (const command of this.#commands) if (command.begun && command.channel === channel) return command;
    return undefined;
  }

  byId(id: string): Command | undefined {
    for (const command of this.#commands) if (command.id === id) return command;
    return undefined;
  }

  all(): Iterable<Command> {
    return this.#commands;
  }

  #trim(): void {
    for (let victim = this.#victim(); victim; victim = this.#victim()) {
      this.#commands.delete(victim);
      this.#options.forget(victim);
    }
  }

  /** The next to go, where there are too many. */
  #victim(): Command | undefined {
    const { count } = this.#options;
    if (this.#commands.size <= count) return undefined;
    const commands = [...this.#commands];
    const settled = commands.filter(({ status }) => status !== 'running');
    // A host that lists without end what never settles is believed up to here.
    const last = commands.length > 2 * count ? commands[0] : undefined;
    return settled.find(({ drained }) => drained) ?? settled[0] ?? last;
  }

  /** Bytes held after the oldest commands have given up what is too much. */
  #bound(): number {
    let held = 0;
    for (const command of this.#commands) held += command.allocated;
    for (const command of this.#commands) {
      if (held <= this.#options.bytes) break;
      held -= command.allocated;
      command.stdout.kept.evict();
      command.stderr.kept.evict();
      held += command.allocated;
    }
    return held;
  }
}
