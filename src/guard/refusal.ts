/** What the guard answers by itself. The message is one sentence; it repeats nothing of the engine's. */
export class Refusal extends Error {
  override name = 'Refusal';
  readonly status: number;

  constructor(message: string, status = 403) {
    super(message);
    this.status = status;
  }
}
