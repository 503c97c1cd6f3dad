import type { Duplex } from 'node:stream';

/** Requests of one connection that are under way and wait. apt sends 10 before the first answer, others but one. */
const most = 16;

/**
 * One connection's requests, each begun when the one before has ended: a client may send any number at once.
 * After the last answer, which says so, there are no more: what came behind it, the client has to ask for again.
 */
export class Turns {
  readonly #connection: Duplex;
  #taken = 0;
  #last: Promise<void> = Promise.resolve();

  constructor(connection: Duplex) {
    this.#connection = connection;
  }

  /** Whether none is under way and none waits. */
  get idle(): boolean {
    return this.#taken === 0;
  }

  /** Begins it in its turn. Ends the connection where too many wait, since every one of them costs memory. */
  take(exchange: () => Promise<void>): void {
    if (this.#taken === most) return void this.#connection.destroy();
    this.#taken += 1;
    this.#last = this.#last.then(() => this.#run(exchange));
  }

  async #run(exchange: () => Promise<void>): Promise<void> {
    if (this.#connection.writable) await exchange();
    this.#taken -= 1;
  }
}
