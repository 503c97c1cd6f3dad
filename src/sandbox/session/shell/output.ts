import { ByteRing } from '../../../lib/ring.ts';
import { leadingContinuation, unfinishedUtf8 } from '../../../lib/utf8.ts';
import type { Output, OutputPage } from '../../ports/workspace.ts';

export interface OutputLimits {
  /** Bytes shown from the start of a long output. */
  readonly head: number;
  /** Bytes shown from its end. */
  readonly tail: number;
  /** Newest bytes kept for paging. */
  readonly window: number;
}

/** What is kept of one stream of a command: its head, and a window of its newest bytes. */
export class KeptOutput {
  readonly #limits: OutputLimits;
  readonly #ring: ByteRing;
  /** The first bytes, taken aside when the window moves on from them. */
  #head: Uint8Array | undefined;
  #dropped = 0;

  constructor(limits: OutputLimits) {
    this.#limits = { ...limits, window: Math.max(limits.window, limits.head, limits.tail) };
    this.#ring = new ByteRing(this.#limits.window);
  }

  get total(): number {
    return this.#ring.end;
  }

  /** Bytes that never came, because no server read them in time. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Bytes of memory in use. */
  get allocated(): number {
    return this.#ring.allocated + (this.#head?.length ?? 0);
  }

  append(bytes: Uint8Array): void {
    if (bytes.length <= this.#ring.room || this.#head) {
      this.#ring.append(bytes);
      return;
    }
    const room = this.#ring.room;
    this.#ring.append(bytes.subarray(0, room));
    this.#head = this.#firstBytes();
    this.append(bytes.subarray(room));
  }

  /** Notes `count` bytes that were lost on the way. */
  drop(count: number): void {
    this.#head ??= this.#firstBytes();
    this.#ring.skipTo(this.#ring.end + count);
    this.#dropped += count;
  }

  /** What to show of the bytes before `end`. */
  shown(end = this.total): Output {
    const { head, tail } = this.#limits;
    const total = Math.min(end, this.total);
    const counts = { total, dropped: this.#dropped };
    if (total <= head + tail && this.#unbroken()) {
      return { ...counts, head: this.#slice(0, total), tail: new Uint8Array(), omitted: 0 };
    }
    const first = wholeCharactersAtEnd(this.#slice(0, Math.min(head, total)));
    const begin = Math.max(first.length, total - tail);
    const last = wholeCharactersAtStart(this.#ring.read(begin, total));
    return { ...counts, head: first, tail: last, omitted: total - first.length - last.length };
  }

  /** At most `size` bytes from `offset` on, or from the oldest byte behind it that is still held. */
  page(offset: number, size: number): OutputPage {
    const asked = Math.min(offset, this.total);
    const begin = asked < (this.#head?.length ?? 0) ? asked : Math.max(asked, this.#ring.start);
    const bytes = this.#slice(begin, begin + size);
    const whole = begin + bytes.length < this.total ? wholeCharactersAtEnd(bytes) : bytes;
    return { bytes: whole, offset: begin, next: begin + whole.length, evicted: begin - asked, total: this.total };
  }

  /** Gives back spare memory, once no more output is expected. */
  shrink(): void {
    this.#ring.trim(this.#ring.start);
  }

  /** Gives up the window; the totals and what is shown of a short output's head stay. */
  evict(): void {
    this.#head ??= this.#firstBytes();
    this.#ring.trim(this.#ring.end);
  }

  /** Gives up all that is held; the totals stay. */
  clear(): void {
    this.#head = new Uint8Array();
    this.#ring.trim(this.#ring.end);
  }

  #firstBytes(): Uint8Array {
    return this.#ring.start === 0 ? this.#ring.read(0, this.#limits.head) : new Uint8Array();
  }

  #unbroken(): boolean {
    return this.#ring.start <= (this.#head?.length ?? 0);
  }

  /** Bytes from `from` on, as far as they are held without a gap. */
  #slice(from: number, to: number): Uint8Array {
    const head = this.#head;
    if (!head || from >= head.length) return this.#ring.read(from, to);
    const first = head.subarray(from, to);
    if (to <= head.length || this.#ring.start > head.length) return first;
    return Buffer.concat([first, this.#ring.read(head.length, to)]);
  }
}

function wholeCharactersAtEnd(bytes: Uint8Array): Uint8Array {
  const cut = unfinishedUtf8(bytes);
  return cut > 0 && cut < bytes.length ? bytes.subarray(0, bytes.length - cut) : bytes;
}

function wholeCharactersAtStart(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(leadingContinuation(bytes));
}
