const linesPerSecond = 100;

/** Keeps a sandbox from flooding the log: so many lines a second, and a count of what was left out. */
export class Pace {
  #second = 0;
  #lines = 0;
  #skipped = 0;

  /** How many lines were left out before this one; `undefined` when this one is left out, too. */
  skipped(): number | undefined {
    const second = Math.floor(performance.now() / 1000);
    if (second !== this.#second) [this.#second, this.#lines] = [second, 0];
    this.#lines += 1;
    if (this.#lines > linesPerSecond) return void (this.#skipped += 1);
    const skipped = this.#skipped;
    this.#skipped = 0;
    return skipped;
  }
}
