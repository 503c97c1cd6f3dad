import type { Command } from './command.ts';
import type { CommandNote, CommandStore } from './command-store.ts';

/** What a later server has to know of the commands that go on without this one. */
export class CommandNotes {
  readonly #store: CommandStore | undefined;
  /** Ids of the commands that the store knows: most never come there. */
  readonly #noted = new Set<string>();

  constructor(store: CommandStore | undefined) {
    this.#store = store;
  }

  /** An earlier server noted it. */
  knows(id: string): void {
    this.#noted.add(id);
  }

  /** Notes a command that has begun. `boot` names its host. */
  note(command: Command, boot: string): void {
    const { channel, text, timeout, executionTime } = command;
    const started = Date.now() - executionTime * 1000;
    const deadline = started + timeout * 1000;
    const note: CommandNote = { kind: 'command', boot, channel, text, started, deadline };
    this.#noted.add(command.id);
    this.#store?.save(command.id, JSON.stringify(note));
  }

  forget(id: string): void {
    if (this.#noted.delete(id)) this.#store?.drop(id);
  }
}
