import { AppError } from '../../errors.ts';

export interface FairQueueOptions {
  /** Whether one more may go in. */
  readonly room: () => boolean;
  /** Most that may wait. */
  readonly longest: number;
}

export interface Waiting {
  readonly signal?: AbortSignal;
  /** Called with the place in the queue (1 = next) at first, and whenever it has changed. Must not throw. */
  readonly onPlace?: (place: number) => void;
}

interface Waiter extends Waiting {
  readonly owner: string;
  readonly enter: () => void;
  readonly refuse: (error: unknown) => void;
  told: number;
}

/**
 * Lets callers in while there is room: one of each owner in turn, and each owner's own in the order they came, so that
 * nobody waits behind all of another's.
 */
export class FairQueue {
  readonly #options: FairQueueOptions;
  /** By owner; whose turn it is comes first. */
  readonly #waiting = new Map<string, Waiter[]>();
  #inside = 0;
  #count = 0;

  constructor(options: FairQueueOptions) {
    this.#options = options;
  }

  /** How many have gone in and not come out. */
  get inside(): number {
    return this.#inside;
  }

  get waiting(): number {
    return this.#count;
  }

  /**
   * Resolves to a place, to be disposed once. Rejects with the signal's reason when it aborts first, and `busy` when too
   * many wait; then whoever has the most waiting is refused the last of them.
   */
  async enter(owner: string, waiting: Waiting = {}): Promise<Disposable> {
    waiting.signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { ...waiting, owner, told: 0, enter: resolve, refuse: reject };
    this.#add(waiter);
    const abort = () => {
      if (this.#remove(waiter)) reject(waiting.signal?.reason as Error);
      this.#tell();
    };
    waiting.signal?.addEventListener('abort', abort, { once: true });
    this.pump();
    try {
      await promise;
    } finally {
      waiting.signal?.removeEventListener('abort', abort);
    }
    let held = true;
    const leave = () => {
      if (held) this.#inside -= 1;
      held = false;
      this.pump();
    };
    return { [Symbol.dispose]: leave };
  }

  /** Lets in whom there is room for; to be called when there may be more room. */
  pump(): void {
    while (this.#count > 0 && this.#options.room()) {
      const waiter = this.#next();
      this.#inside += 1;
      waiter.enter();
    }
    this.#tell();
  }

  #add(waiter: Waiter): void {
    const own = this.#waiting.get(waiter.owner) ?? [];
    this.#waiting.set(waiter.owner, own);
    own.push(waiter);
    this.#count += 1;
    if (this.#count <= this.#options.longest || this.#options.room()) return;
    const most = [...this.#waiting.values()].reduce((a, b) => (b.length > a.length ? b : a), own);
    const last = most.at(-1);
    if (last && this.#remove(last)) last.refuse(tooMany(this.#options.longest));
  }

  #next(): Waiter {
    const [owner, own] = this.#waiting.entries().next().value as [string, Waiter[]];
    const waiter = own[0] as Waiter;
    this.#remove(waiter);
    if (own.length > 0) {
      this.#waiting.delete(owner);
      this.#waiting.set(owner, own);
    }
    return waiter;
  }

  #remove(waiter: Waiter): boolean {
    const own = this.#waiting.get(waiter.owner);
    const index = own?.indexOf(waiter) ?? -1;
    if (!own || index < 0) return false;
    own.splice(index, 1);
    if (own.length === 0) this.#waiting.delete(waiter.owner);
    this.#count -= 1;
    return true;
  }

  /** Places are turns: first each owner's first, then each owner's second. */
  #tell(): void {
    let place = 0;
    let lists = [...this.#waiting.values()];
    for (let turn = 0; lists.length > 0; turn += 1) {
      for (const own of lists) tellPlace(own[turn], ++place);
      lists = lists.filter((own) => own.length > turn + 1);
    }
  }
}

function tellPlace(waiter: Waiter | undefined, place: number): void {
  if (!waiter || waiter.told === place) return;
  waiter.told = place;
  waiter.onPlace?.(place);
}

function tooMany(longest: number): AppError {
  return new AppError('busy', `${longest} calls wait for a sandbox already, the most allowed; try again in 30 s.`, {
    data: { retry_after: 30 },
  });
}
