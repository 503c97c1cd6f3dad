import type { ShellState } from '../wire/greeting.ts';
import type { Command } from './command.ts';

/** The host's shell as one generation follows another, and the one that callers know of: each loss is told once. */
export class ShellLife {
  #state: ShellState = { generation: 0, running: 0, cwd: '' };
  #known = 0;
  #ready = false;
  /** The shell's end was part of a result; the one that follows is no news. */
  #endTold = false;
  #restarted = Promise.withResolvers<void>();

  get state(): ShellState {
    return this.#state;
  }

  /** False from the shell's end until the next one has started. */
  get isReady(): boolean {
    return this.#ready;
  }

  /** Resolves when another shell has started. */
  get restarted(): Promise<void> {
    return this.#restarted.promise;
  }

  /** Callers know of this generation now; absent: of the one there is. */
  toldOf(generation: number = this.#state.generation): void {
    this.#known = generation;
  }

  movedTo(cwd: string): void {
    this.#state = { ...this.#state, cwd };
  }

  /** What the host says of its shell. One that died unnoticed is replaced when the next command comes, `current`. */
  is(state: ShellState, current: Command | undefined): void {
    const restarted = state.generation !== this.#state.generation;
    this.#state = state;
    this.#ready = true;
    if (!restarted) return;
    if (this.#endTold) this.toldOf();
    else if (current && !current.ended && current.generation > 0) this.#tell(current);
    this.#endTold = false;
    this.#restarted.resolve();
    this.#restarted = Promise.withResolvers();
  }

  /** A command begins in the shell there is, and tells of a loss that no other has told. */
  begins(command: Command): void {
    if (this.#state.generation > this.#known) this.#tell(command);
  }

  /** The shell is being ended, as its callers asked. */
  ends(): void {
    this.#ready = false;
    this.#endTold = true;
  }

  /** A command reported the end of its shell: in its result, where it `tells`. */
  endedUnder(command: Command, tells: boolean): void {
    const replaced = this.#state.generation > command.generation;
    this.#ready = replaced;
    if (!tells) return;
    if (replaced) this.toldOf();
    else this.#endTold = true;
  }

  #tell(command: Command): void {
    command.shellWasLost = true;
    this.toldOf();
  }
}
