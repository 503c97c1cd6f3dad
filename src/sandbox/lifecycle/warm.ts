import type { Logger } from '../../log.ts';
import type { Live, Opener } from './live.ts';
import { newHandle, newVolume } from './roster.ts';
import type { ContainerRecord, Runtime } from '../ports/runtime.ts';
import type { SandboxRow, State } from '../../state/state.ts';
import { detached } from '../../lib/detached.ts';

export interface WarmOptions {
  readonly runtime: Runtime;
  readonly state: State;
  readonly opener: Opener;
  readonly log: Logger;
  /** Aborts when the server lets go. */
  readonly closing: AbortSignal;
  /** How many sandboxes of each template are kept ready. */
  readonly sizes: ReadonlyMap<string, number>;
  /** How many more containers the host may have now. */
  readonly room: () => number;
}

/** A ready sandbox that nobody has yet. */
interface Ready {
  readonly row: SandboxRow;
  readonly live: Live;
  /** A digest of what its container was made from. */
  readonly spec: string;
}

/** A row of this principal belongs to nobody: no caller is ever called so. */
export const nobody = '';
const startsAtOnce = 2;
/** Milliseconds after a failed start before the next one. */
const pause = 5000;
/** Milliseconds within which claims count as demand. */
const demandWindow = 30_000;

/**
 * Sandboxes started ahead of their callers, each with a workspace of its own. A claim writes down whose it is before it
 * is handed out, and it is never handed out again.
 */
export class WarmPool {
  readonly #options: WarmOptions;
  readonly #ready = new Map<string, Ready[]>();
  readonly #claims = new Map<string, number[]>();
  #starting = 0;
  #resumeAt = 0;

  constructor(options: WarmOptions) {
    this.#options = options;
  }

  /** Ready sandboxes and those being started. */
  get size(): number {
    return this.#starting + [...this.#ready.values()].reduce((sum, ready) => sum + ready.length, 0);
  }

  /** A ready sandbox becomes `row`'s: its handle, container and workspace under the row's owner. */
  claim(row: SandboxRow): Ready | undefined {
    this.#noteDemand(row.template);
    const ready = this.#ready.get(row.template)?.shift();
    queueMicrotask(() => this.fill());
    if (!ready) return undefined;
    const { handle, volume } = ready.row;
    const scopeId = row.scopeKind === 'handle' ? handle : row.scopeId;
    const claimed: SandboxRow = { ...row, handle, volume, scopeId, state: 'live' };
    this.#options.state.claim(claimed);
    return { ...ready, row: claimed, live: ready.live.claimedBy(claimed) };
  }

  /** Starts what is missing, in the background. */
  fill(): void {
    if (this.#options.closing.aborted || performance.now() < this.#resumeAt) return;
    for (const [template, size] of this.#options.sizes) {
      const missing = this.#target(template, size) - (this.#ready.get(template)?.length ?? 0) - this.#starting;
      for (let i = 0; i < missing && this.#starting < startsAtOnce && this.#options.room() > 0; i++)
        this.#add(template);
    }
  }

  /** Takes over a ready sandbox of an earlier server if it is still what its template asks for. */
  async adopt(row: SandboxRow, record: ContainerRecord): Promise<void> {
    const { opener, closing, log } = this.#options;
    try {
      const spec = await opener.specOf(row);
      if (record.labels['berth.spec'] !== spec) throw new Error('its template or image has changed');
      const live = await opener.adopt(row, record, closing);
      if (await live.used?.()) await this.#leave(row, live);
      else this.#keep({ row, spec, live });
    } catch (err) {
      log.info({ event: 'warm.dropped', sandbox: row.handle, err });
      await this.#options.runtime.container(record).remove();
      await this.forget(row);
    }
  }

  /** An older state takes a sandbox for ready that has become somebody's. It is kept, and given to nobody. */
  async #leave(row: SandboxRow, live: Live): Promise<void> {
    this.#options.log.warn({ event: 'warm.not_ours', sandbox: row.handle, volume: row.volume });
    this.#options.state.remove(row.handle);
    await live[Symbol.asyncDispose]();
  }

  /** Replaces ready sandboxes whose image has been rebuilt since they started. */
  async refresh(): Promise<void> {
    for (const ready of [...this.#ready.values()].flat()) {
      const spec = await this.#options.opener.specOf(ready.row);
      if (ready.spec === spec || !this.#take(ready)) continue;
      this.#options.log.info({ event: 'warm.outdated', sandbox: ready.row.handle });
      await this.#discard(ready);
    }
    this.fill();
  }

  /** Removes what is left of a ready sandbox whose container is gone. */
  async forget(row: SandboxRow): Promise<void> {
    await this.#options.runtime.removeVolume(row.volume);
    this.#options.state.remove(row.handle);
  }

  /** Detaches; the next server takes over. */
  async letGo(): Promise<void> {
    const all = [...this.#ready.values()].flat();
    this.#ready.clear();
    await Promise.allSettled(all.map(({ live }) => live[Symbol.asyncDispose]()));
  }

  /** Twice the size at most, for as long as callers come quickly. */
  #target(template: string, size: number): number {
    const recent = (this.#claims.get(template) ?? []).filter((at) => performance.now() - at < demandWindow);
    return Math.min(2 * size, Math.max(size, recent.length));
  }

  #noteDemand(template: string): void {
    const claims = this.#claims.get(template) ?? [];
    claims.push(performance.now());
    this.#claims.set(template, claims.slice(-100));
  }

  #add(template: string): void {
    this.#starting += 1;
    detached(
      this.#start(template).finally(() => {
        this.#starting -= 1;
        this.fill();
      }),
      this.#options.log,
    );
  }

  async #start(template: string): Promise<void> {
    const { state, opener, closing, log } = this.#options;
    const row = readyRow(template, state.instance);
    state.insert(row);
    try {
      const spec = await opener.specOf(row);
      this.#keep({ row, spec, live: await opener.open(row, closing) });
    } catch (err) {
      this.#resumeAt = performance.now() + pause;
      setTimeout(() => this.fill(), pause).unref();
      log.warn({ event: 'warm.start_failed', template, err });
      await this.forget(row).catch((error: unknown) => log.warn({ event: 'warm.forget_failed', err: error }));
    }
  }

  #keep(ready: Ready): void {
    const { template } = ready.row;
    this.#ready.set(template, [...(this.#ready.get(template) ?? []), ready]);
    this.#options.log.info({ event: 'warm.ready', sandbox: ready.row.handle, template });
    detached(
      ready.live.closed.then(() => this.#died(ready)),
      this.#options.log,
    );
  }

  async #died(ready: Ready): Promise<void> {
    if (!this.#take(ready)) return;
    try {
      await this.#discard(ready);
    } catch (err) {
      // Its row stays: the next server finds that it is gone.
      this.#options.log.warn({ event: 'warm.remove_failed', sandbox: ready.row.handle, err });
    }
    this.fill();
  }

  /** False when somebody else has it by now. */
  #take(ready: Ready): boolean {
    const list = this.#ready.get(ready.row.template) ?? [];
    const index = list.indexOf(ready);
    if (index >= 0) list.splice(index, 1);
    return index >= 0;
  }

  async #discard({ row, live }: Ready): Promise<void> {
    await live[Symbol.asyncDispose]();
    await live.container.remove();
    await this.forget(row);
  }
}

function readyRow(template: string, instance: string): SandboxRow {
  const handle = newHandle();
  const now = Date.now();
  return {
    handle,
    principal: nobody,
    scopeKind: 'handle',
    scopeId: handle,
    template,
    volume: newVolume(instance, handle),
    state: 'live',
    created: now,
    lastUsed: now,
    expires: null,
    lost: [],
  };
}
