/** Something that holds output and can do without. */
export interface OutputHolder {
  /** Drops the output it holds. */
  giveUp(): void;
}

/**
 * The memory that ended commands of all sandboxes take together for their output. Over the limit, what was noted
 * longest ago is given up first, a sandbox at a time.
 */
export class OutputBudget {
  readonly #limit: number;
  /** Bytes by holder, the one noted longest ago first. */
  readonly #held = new Map<OutputHolder, number>();
  #total = 0;

  /** `limit` in bytes. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes held by all. */
  get total(): number {
    return this.#total;
  }

  /** Says what a holder holds now; 0 when it is done. */
  note(holder: OutputHolder, bytes: number): void {
    this.#forget(holder);
    if (bytes > 0) this.#held.set(holder, bytes);
    this.#total += bytes;
    for (const oldest of this.#held.keys()) {
      if (this.#total <= this.#limit) return;
      this.#forget(oldest);
      oldest.giveUp();
    }
  }

  #forget(holder: OutputHolder): void {
    this.#total -= this.#held.get(holder) ?? 0;
    this.#held.delete(holder);
  }
}
