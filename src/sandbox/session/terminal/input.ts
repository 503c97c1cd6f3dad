import { AppError } from '../../../errors.ts';
import { maxData } from '../wire/frame.ts';

/** Bytes that may be on their way to the terminal; the rest of the queue waits here. */
const maxUnacknowledged = 64 * 1024;
const maxQueued = 1024 * 1024;

/** Input for a terminal, held until the terminal has taken it. */
export class TerminalInput {
  readonly #send: (bytes: Uint8Array) => void;
  /** From the oldest byte that was not acknowledged. */
  #bytes = Buffer.alloc(0);
  /** How many of them were sent. */
  #sent = 0;
  /** Bytes that the terminal has taken since it started. */
  #taken = 0;
  /** False until a new connection tells what the terminal has taken. */
  #open = true;

  constructor(send: (bytes: Uint8Array) => void) {
    this.#send = send;
  }

  /** Throws `busy`, with nothing sent, when the terminal has left too much input unread. */
  write(bytes: Uint8Array): void {
    if (this.#bytes.length + bytes.length > maxQueued) {
      throw new AppError(
        'busy',
        `The terminal's program has not read ${this.#bytes.length} bytes of earlier input; at most ${maxQueued} may wait.`,
      );
    }
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    this.#flush();
  }

  /** The terminal has taken so many bytes since it started. On a new connection the rest is sent again. */
  taken(total: number): void {
    const fresh = Math.max(0, Math.min(total - this.#taken, this.#sent));
    this.#taken = total;
    this.#bytes = Buffer.from(this.#bytes.subarray(fresh));
    this.#sent = this.#open ? this.#sent - fresh : 0;
    this.#open = true;
    this.#flush();
  }

  /** The connection was made anew: what was not acknowledged may be lost, which the next count tells. */
  interrupted(): void {
    this.#open = false;
  }

  #flush(): void {
    while (this.#open && this.#sent < Math.min(this.#bytes.length, maxUnacknowledged)) {
      const end = Math.min(this.#bytes.length, maxUnacknowledged, this.#sent + maxData);
      const piece = this.#bytes.subarray(this.#sent, end);
      this.#sent = end;
      this.#send(piece);
    }
  }
}
