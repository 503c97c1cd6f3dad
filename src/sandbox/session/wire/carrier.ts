import { FrameError, maxSnapshot, type HostFrame } from './frame.ts';
import * as request from './request.ts';
import { Timers } from '../../../lib/timers.ts';

/** Milliseconds. The host itself waits a second for the shell to have written the snapshot. */
const askTimeout = 2000;
const giveTimeout = 5000;
/** The directory and six sections, each ended by a NUL. */
const strings = 7;
const longestDirectory = 4095;

interface Asked {
  readonly cookie: bigint;
  readonly parts: Buffer[];
  held: number;
  total: number | undefined;
  readonly answer: PromiseWithResolvers<Uint8Array | undefined>;
}

/** Fetches the snapshot of an idle shell from one host, and gives it to another. */
export class Carrier {
  readonly #send: (...frames: Uint8Array[]) => void;
  #cookie = 0n;
  #asked: Asked | undefined;
  #given: PromiseWithResolvers<void> | undefined;

  constructor(send: (...frames: Uint8Array[]) => void) {
    this.#send = send;
  }

  /** Undefined: there is none, it is no snapshot, or it did not come in time. A later call ends an earlier one so. */
  async ask(): Promise<Uint8Array | undefined> {
    this.#asked?.answer.resolve(undefined);
    const answer = Promise.withResolvers<Uint8Array | undefined>();
    const asked: Asked = { cookie: ++this.#cookie, parts: [], held: 0, total: undefined, answer };
    this.#asked = asked;
    using timers = new Timers();
    this.#send(request.carry(asked.cookie));
    try {
      return await Promise.race([answer.promise, timers.after(askTimeout).then(() => undefined)]);
    } finally {
      if (this.#asked === asked) this.#asked = undefined;
    }
  }

  /** Resolves when a shell has started with the snapshot; rejects with the reason why none has. */
  async give(snapshot: Uint8Array): Promise<void> {
    if (!isSnapshot(snapshot)) throw new Error('what was kept is no snapshot of a shell');
    const given = Promise.withResolvers<void>();
    this.#given = given;
    using timers = new Timers();
    this.#send(...request.give(snapshot));
    const late = timers.after(giveTimeout).then(() => Promise.reject(new Error('no shell started with it in time')));
    try {
      await Promise.race([given.promise, late]);
    } finally {
      this.#given = undefined;
    }
  }

  /** Takes note of what may be an answer. Throws `FrameError` at parts that make no whole. */
  take(frame: HostFrame): void {
    if (frame.type === 'snapshot') this.#part(frame);
    if (frame.type === 'shell') this.#given?.resolve();
    if (frame.type === 'error' && frame.channel === 0) this.#given?.reject(new Error(frame.text));
  }

  #part({ cookie, total, bytes }: Extract<HostFrame, { type: 'snapshot' }>): void {
    const asked = this.#asked;
    if (asked?.cookie !== cookie) return;
    asked.total ??= total;
    asked.held += bytes.length;
    if (total !== asked.total || asked.held > total) throw new FrameError('the parts of a snapshot make no whole');
    asked.parts.push(Buffer.from(bytes));
    if (asked.held === total) asked.answer.resolve(asSnapshot(Buffer.concat(asked.parts, total)));
  }

  /** The connection is gone, and with it what was on its way. */
  cut(): void {
    this.#asked?.answer.resolve(undefined);
    this.#given?.reject(new Error('the connection to the session host broke'));
  }
}

function asSnapshot(bytes: Uint8Array): Uint8Array | undefined {
  return isSnapshot(bytes) ? bytes : undefined;
}

/** Whether the bytes have a snapshot's form. What they say is a matter of the sandbox that they come from and go to. */
function isSnapshot(bytes: Uint8Array): boolean {
  if (bytes.length > maxSnapshot || bytes[0] !== 0x2f || bytes.at(-1) !== 0) return false;
  let ends = 0;
  for (let at = bytes.indexOf(0); at >= 0; at = bytes.indexOf(0, at + 1)) ends += 1;
  return ends === strings && bytes.indexOf(0) <= longestDirectory;
}
