/** Milliseconds by which the wall clock must have been set to count as that. */
const least = 60_000;

/**
 * Tells when the machine's wall clock was set, or went on while the machine slept: either moves it against the monotonic
 * clock. Times noted before then lie as much too far back, or ahead.
 */
export class WallClock {
  #ahead = ahead();

  /** Milliseconds by which the clock was set, told once; 0 as long as it was not. */
  takeStep(): number {
    const step = ahead() - this.#ahead;
    if (Math.abs(step) < least) return 0;
    this.#ahead += step;
    return Math.round(step);
  }
}

function ahead(): number {
  return Date.now() - performance.now();
}
