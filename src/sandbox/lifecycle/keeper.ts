import { inLanes } from '../../lib/lanes.ts';
import type { Logger } from '../../log.ts';
import type { Entry } from './entry.ts';
import { isWorking, type Live, type Opener } from './live.ts';
import { reconcile } from './reconcile.ts';
import { containerName, newVolume, type Roster } from './roster.ts';
import type { Container, ContainerRecord, Runtime } from '../ports/runtime.ts';
import { filesLost, lostBecause, shellAfterWake } from './sentences.ts';
import type { SandboxRow, State } from '../../state/state.ts';
import { nobody } from './warm.ts';
import { Timers } from '../../lib/timers.ts';
import { detached } from '../../lib/detached.ts';

export interface KeeperOptions {
  readonly runtime: Runtime;
  readonly state: State;
  readonly opener: Opener;
  readonly roster: Roster;
  readonly log: Logger;
  /** Seconds that a stopped container is kept for a quick wake; 0 = not at all. */
  readonly removeAfter: number;
  /** Whether an idle sandbox's shell goes on with its directory, variables and functions after its wake. */
  readonly keepShell: boolean;
  /** Aborts when the server lets go. */
  readonly closing: AbortSignal;
  /** Refuses, makes room, or waits for it, before a container is started; the place is given back when it has. */
  readonly admit: (entry: Entry) => Promise<Disposable>;
  /** Called when a container has gone. */
  readonly freed: () => void;
  /** Called before a running sandbox is ended, while it can still be looked at. Never rejects. */
  readonly leaving?: ((row: SandboxRow, live: Live) => Promise<void>) | undefined;
  /** Takes over a ready sandbox that an earlier server left, with its container where that runs. */
  readonly warm: (row: SandboxRow, record?: ContainerRecord) => Promise<void>;
}

/** Milliseconds that a removed container's calls get to hear of it. */
const deathNotice = 2000;

const alarming = new Set(['sandbox.lost', 'workspace.lost']);

/** The steps of a sandbox's life. Each is to be run as the entry's `step`. */
export class Keeper {
  readonly #options: KeeperOptions;
  #reconciled: Promise<void> | undefined;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** The entry's live sandbox: as it is, adopted, or started. */
  async start(entry: Entry): Promise<Live> {
    if (entry.live) return entry.live;
    await this.reconciled();
    return this.hold(entry, entry.found ? await this.#adopt(entry, entry.found) : await this.#open(entry));
  }

  /** The entry's live sandbox where an earlier server left it running; nothing is started. */
  async adopted(entry: Entry): Promise<Live | undefined> {
    if (entry.row.state !== 'live') return undefined;
    return await entry.step(async () => {
      if (!entry.live) await this.reconciled();
      return entry.live ?? (entry.found && (await this.start(entry)));
    });
  }

  /** Makes `live` the entry's, until it ends by itself. */
  hold(entry: Entry, live: Live): Live {
    entry.live = live;
    entry.touch();
    detached(
      live.closed.then((why) => this.#died(entry, live, why)),
      this.#options.log,
    );
    return live;
  }

  /** Removes the container and keeps the workspace. */
  async idleOut(entry: Entry, lost: readonly string[]): Promise<void> {
    this.save(entry, { lost });
    await this.#removeContainer(entry);
    this.save(entry, { state: 'idle' });
    this.#log('sandbox.idled', entry);
    this.#options.roster.settle(entry);
  }

  /** Ends all that runs, and keeps the container for a quick wake where that is wanted. */
  async #rest(entry: Entry, lost: readonly string[]): Promise<void> {
    if (this.#options.removeAfter === 0) return await this.idleOut(entry, lost);
    this.save(entry, { lost });
    await this.#end(entry, (container) => container.stop());
    this.save(entry, { state: 'stopped' });
    this.#log('sandbox.stopped', entry);
    this.#options.roster.settle(entry);
  }

  /** Removes the container of a sandbox that rests; when it was last used stays as it is. */
  async clear(entry: Entry): Promise<void> {
    if (entry.row.state !== 'stopped') return;
    await this.#removeContainer(entry);
    this.save(entry, { state: 'idle', lastUsed: entry.row.lastUsed });
    this.#log('sandbox.idled', entry);
    this.#options.roster.settle(entry);
  }

  /** Ends the container, as fate would: what runs in it is lost, and the next caller is told why. */
  async stop(entry: Entry, why: string): Promise<void> {
    const { live } = entry;
    if (!live) return;
    using timers = new Timers();
    live.endsBecause?.(why);
    await this.#options.leaving?.(entry.row, live);
    await live.container.remove();
    await Promise.race([live.closed, timers.after(deathNotice)]);
    this.#died(entry, live, why);
    this.save(entry, { lost: [lostBecause(why)] });
  }

  /** Idles the entry out if nothing has used it for `seconds` and nothing works in it; whether it did. */
  async idleIfUnused(entry: Entry, seconds: number): Promise<boolean> {
    const unused = () => entry.leases === 0 && entry.idleSeconds() >= seconds;
    if (!entry.live || !unused()) return false;
    return await entry.step(async () => {
      if (!entry.live || !unused()) return false;
      if (isWorking(await entry.live.activity())) {
        entry.touch();
        return false;
      }
      const shell = this.#options.keepShell ? await entry.live.carry?.() : undefined;
      // From here to where the sandbox is no longer live, nothing may wait: a call could come in between.
      if (!unused()) return false;
      this.#options.state.keepShell(entry.row.handle, shell);
      await this.#rest(entry, [lostBecause(`it was idle for ${Math.round(entry.idleSeconds())} s`)]);
      return true;
    });
  }

  /** Removes the container and, unless it is kept, the workspace and the sandbox itself. */
  async end(entry: Entry, keepWorkspace: boolean, why: string): Promise<void> {
    if (entry.ended) return;
    if (keepWorkspace) {
      this.#options.state.keepShell(entry.row.handle, undefined);
      return await this.idleOut(entry, [lostBecause(why)]);
    }
    await this.#removeContainer(entry);
    await this.#removeWorkspace(entry.row);
    entry.ended = true;
    this.#options.state.remove(entry.row.handle);
    this.#log('sandbox.ended', entry, { why });
    this.#options.roster.settle(entry);
    this.#options.freed();
  }

  /** The next call starts a new container, over the same workspace or an empty one. */
  async recreate(entry: Entry, scope: 'container' | 'workspace'): Promise<void> {
    await this.#removeContainer(entry);
    if (scope === 'workspace') await this.#replaceWorkspace(entry);
    this.#options.state.keepShell(entry.row.handle, undefined);
    this.save(entry, { state: 'idle', lost: [] });
    this.#log('sandbox.reset', entry, { scope });
    this.#options.roster.settle(entry);
  }

  /** Detaches and leaves the sandbox to the next server. */
  async letGo(entry: Entry): Promise<void> {
    const live = entry.live;
    entry.live = undefined;
    if (live) this.save(entry, {});
    await live?.[Symbol.asyncDispose]();
  }

  save(entry: Entry, change: Partial<SandboxRow>): void {
    entry.row = { ...entry.row, lastUsed: Date.now(), ...change };
    this.#options.state.update(entry.row);
    if (change.state === 'idle' || change.state === 'stopped') this.#options.freed();
  }

  /** Matches the state with what the engine has, once; a failure is tried again at the next need. */
  reconciled(): Promise<void> {
    this.#reconciled ??= this.#reconcile().catch((error: unknown) => {
      this.#reconciled = undefined;
      throw error;
    });
    return this.#reconciled;
  }

  /** Adopts what ran before this server started, `width` at a time. Never rejects. */
  async adoptAll(width: number): Promise<void> {
    try {
      await this.reconciled();
    } catch (err) {
      this.#options.log.warn({ event: 'engine.unavailable', err });
      return;
    }
    const found = this.#options.roster.all().filter((entry) => entry.found);
    await inLanes(width, found, (entry) => this.#adoptQuietly(entry));
  }

  async #adoptQuietly(entry: Entry): Promise<void> {
    try {
      // A caller may have adopted, reset or ended it in between.
      await entry.step(async () => void (entry.found && (await this.start(entry))));
    } catch (err) {
      this.#log('sandbox.adopt_failed', entry, { err });
    }
  }

  async #open(entry: Entry): Promise<Live> {
    const { lost, state } = entry.row;
    using _place = await this.#options.admit(entry);
    this.save(entry, { state: 'live' });
    try {
      const live = await this.#options.opener.open(entry.row, this.#options.closing);
      entry.tell(lost.length > 0 ? afterWake(lost, live) : []);
      this.save(entry, { lost: [] });
      if (lost.length > 0 && live.emptied) this.#log('workspace.lost', entry);
      this.#log('sandbox.started', entry, { template: entry.row.template, woken: lost.length > 0 });
      return live;
    } catch (error) {
      this.save(entry, { state });
      throw error;
    }
  }

  async #adopt(entry: Entry, record: ContainerRecord): Promise<Live> {
    entry.found = undefined;
    try {
      const live = await this.#options.opener.adopt(entry.row, record, this.#options.closing);
      this.#log('sandbox.adopted', entry);
      return live;
    } catch (err) {
      this.#log('sandbox.adopt_failed', entry, { err });
      await this.#options.runtime.container(record).remove();
      this.save(entry, { state: 'idle', lost: [lostBecause('its container no longer answered after a restart')] });
      return await this.#open(entry);
    }
  }

  #died(entry: Entry, live: Live, why: string): void {
    if (entry.live !== live) return;
    entry.live = undefined;
    this.#log('sandbox.lost', entry, { why });
    this.save(entry, { state: 'idle', lost: [lostBecause(why)] });
    detached(
      entry.step(() => this.#discard(entry, live)),
      this.#options.log,
    );
    this.#options.roster.settle(entry);
  }

  async #discard(entry: Entry, live: Live): Promise<void> {
    await live[Symbol.asyncDispose]();
    try {
      await live.container.remove();
    } catch (err) {
      this.#log('sandbox.remove_failed', entry, { err });
    }
  }

  async #removeContainer(entry: Entry): Promise<void> {
    // Until then it is not known whether it has one.
    await this.reconciled();
    if (entry.row.state === 'stopped') await (await this.#stoppedContainer(entry))?.remove();
    await this.#end(entry, (container) => container.remove());
  }

  /** Ends what runs. On a failure the entry keeps what it has, for another try. */
  async #end(entry: Entry, end: (container: Container) => Promise<void>): Promise<void> {
    const { live, found } = entry;
    if (found) await end(this.#options.runtime.container(found));
    entry.found = undefined;
    entry.live = undefined;
    if (!live) return;
    try {
      await this.#options.leaving?.(entry.row, live);
      await end(live.container);
    } catch (error) {
      this.hold(entry, live);
      throw error;
    }
    await live[Symbol.asyncDispose]();
  }

  async #stoppedContainer({ row }: Entry): Promise<Container | undefined> {
    const { runtime, state } = this.#options;
    const record = await runtime.find(containerName(state.instance, row.handle));
    return record && runtime.container(record);
  }

  /** A workspace that the engine does not let go of is marked as nobody's; the next server removes it. */
  async #removeWorkspace(row: SandboxRow): Promise<void> {
    const { runtime, state } = this.#options;
    state.doom(row.volume);
    try {
      await runtime.removeVolume(row.volume);
      state.spare(row.volume);
    } catch (err) {
      this.#options.log.warn({ event: 'workspace.remove_failed', sandbox: row.handle, err });
    }
  }

  async #replaceWorkspace(entry: Entry): Promise<void> {
    const { handle } = entry.row;
    const old = entry.row;
    this.save(entry, { volume: newVolume(this.#options.state.instance, handle) });
    await this.#removeWorkspace(old);
  }

  async #reconcile(): Promise<void> {
    const { runtime, state, roster, log, warm } = this.#options;
    const { found, lost } = await reconcile(runtime, state, log);
    const ready = found.filter(([row]) => row.principal === nobody);
    const gone = lost.filter((row) => row.principal === nobody);
    await Promise.all([...ready.map(([row, record]) => warm(row, record)), ...gone.map((row) => warm(row))]);
    for (const row of lost.filter((one) => one.principal !== nobody)) {
      const entry = roster.remember(row);
      this.save(entry, { state: 'idle', lost: [lostBecause('its container ended while the server was down')] });
      roster.settle(entry);
    }
    for (const [row, record] of found) if (row.principal !== nobody) this.#find(row, record);
  }

  #find(row: SandboxRow, record: ContainerRecord): void {
    const entry = this.#options.roster.remember(row);
    entry.row = { ...entry.row, state: row.state, volume: row.volume };
    entry.found = record;
  }

  #log(event: string, entry: Entry, more: Record<string, unknown> = {}): void {
    const level = 'err' in more || alarming.has(event) ? 'warn' : 'info';
    this.#options.log[level]({ event, sandbox: entry.row.handle, ...more });
  }
}

function afterWake(lost: readonly string[], live: Live): string[] {
  return [...(live.emptied ? filesLost(lost) : lost), shellAfterWake(live.restored ?? false)];
}
