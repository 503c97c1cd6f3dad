/** What a value may be, as far as its only writer can know: calls may be lost before or after they took effect. */
export class Belief<T> {
  readonly #possible = new Set<T>();

  constructor(value: T) {
    this.know(value);
  }

  know(value: T): void {
    this.#possible.clear();
    this.#possible.add(value);
  }

  /** The value may be this one, too. */
  suspect(value: T): void {
    this.#possible.add(value);
  }

  /** Takes note of what was seen; false for what cannot be. */
  saw(value: T): boolean {
    const possible = this.#possible.has(value);
    this.know(value);
    return possible;
  }

  toString(): string {
    return [...this.#possible].map((value) => JSON.stringify(value)).join(' or ');
  }
}
