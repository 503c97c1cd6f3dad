import type { Inflow } from '../wire/inflow.ts';
import type { Output } from '../../ports/workspace.ts';
import type { KeptOutput } from './output.ts';
import { Pace } from '../../../lib/pace.ts';

/** Bytes per millisecond, and at once, that one stream may send: a flood costs a part of a core, and never a whole one. */
const floodRate = 64 * 1024;
const floodBurst = 256 * 1024 * 1024;

/** One stream of a command: how far it came, what is kept of it, and where the command's own part ends. */
export class CommandStream {
  readonly flow: Inflow;
  readonly kept: KeptOutput;
  readonly #onOutput: ((bytes: Uint8Array) => void) | undefined;
  /** The offset at which the command ended; what follows is its background processes'. */
  #end: number | undefined;
  #eof = false;
  readonly #pace = new Pace(floodRate, floodBurst);
  #paused = false;
  #givenUp = false;

  constructor(flow: Inflow, kept: KeptOutput, onOutput: ((bytes: Uint8Array) => void) | undefined) {
    this.flow = flow;
    this.kept = kept;
    this.#onOutput = onOutput;
  }

  /** True when no more bytes will come. */
  get eof(): boolean {
    return this.#eof;
  }

  /** True when every byte of the command's own part is here. */
  get complete(): boolean {
    return this.#end !== undefined && (this.#eof || this.flow.received >= this.#end);
  }

  /** What to show of the command's own part. */
  get shown(): Output {
    return this.kept.shown(this.#end);
  }

  data(offset: number, bytes: Uint8Array): void {
    const lost = this.flow.accept(offset, bytes.length);
    if (this.#givenUp) return this.flow.consumed(this.flow.received);
    if (lost > 0) this.kept.drop(lost);
    this.kept.append(bytes);
    const own = this.#end === undefined ? bytes : bytes.subarray(0, Math.max(0, this.#end - offset));
    if (own.length > 0) this.#onOutput?.(own);
    this.#credit(this.#pace.take(bytes.length));
  }

  /** Lets the host send more, after a flood's pause. */
  #credit(pause: number): void {
    if (pause === 0) return this.flow.consumed(this.flow.received);
    if (this.#paused) return;
    this.#paused = true;
    setTimeout(() => {
      this.#paused = false;
      this.flow.consumed(this.flow.received);
    }, pause).unref();
  }

  endsAt(offset: number): void {
    this.#end = offset;
  }

  /** Waits no longer for the command's own part: what has not come counts as lost, and what comes yet for nothing. */
  giveUp(): void {
    if (this.#end === undefined || this.complete) return;
    this.kept.drop(this.#end - this.flow.received);
    this.#givenUp = true;
  }

  close(): void {
    this.#eof = true;
    this.kept.shrink();
  }

  /** The stream goes on at `from`, and what lies before it was lost; returns the limit to follow it with. */
  resume(from: number): number {
    if (from > this.flow.received) this.kept.drop(from - this.flow.received);
    return this.flow.resume(from);
  }
}
