import type { Command } from './command.ts';

export interface HistoryOptions {
  /** Ended commands remembered. */
  readonly count: number;
  /** Bytes of output they may hold together. */
  readonly bytes: number;
  /** Called with a command that is remembered no more. */
  readonly forget: (command: Command) => void;
}

/** The ended commands of a sandbox, the oldest first. Those whose processes still write are the last to go. */
export class CommandHistory {
  readonly #options: HistoryOptions;
  readonly #commands = new Map<number, Command>();

  constructor(options: HistoryOptions) {
    this.#options = options;
  }

  add(command: Command): void {
    if (!command.begun) return;
    this.#commands.set(command.channel, command);
    if (this.#commands.size > this.#options.count) this.#dropOne();
    this.#bound();
  }

  byChannel(channel: number): Command | undefined {
    return this.#commands.get(channel);
  }

  byId(id: string): Command | undefined {
    for (const command of this.#commands.values()) if (command.id === id) return command;
    return undefined;
  }

  all(): IterableIterator<Command> {
    return this.#commands.values();
  }

  #dropOne(): void {
    const commands = [...this.#commands.values()];
    const victim = commands.find((command) => command.drained) ?? commands[0];
    if (!victim) return;
    this.#commands.delete(victim.channel);
    this.#options.forget(victim);
  }

  #bound(): void {
    let held = 0;
    for (const command of this.#commands.values()) held += command.allocated;
    for (const command of this.#commands.values()) {
      if (held <= this.#options.bytes) return;
      held -= command.allocated;
      command.stdout.kept.evict();
      command.stderr.kept.evict();
      held += command.allocated;
    }
  }
}
