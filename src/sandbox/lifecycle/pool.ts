import { AppError } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import { Admission, type AdmissionLimits } from './admission.ts';
import type { Entry } from './entry.ts';
import { Keeper } from './keeper.ts';
import type { Key, Principal } from '../../identity/key.ts';
import { isWorking, type Live, type Opener } from './live.ts';
import { newRow, type NewRow } from './new-row.ts';
import { newHandle, Roster } from './roster.ts';
import { Rounds } from '../../lib/rounds.ts';
import type { Runtime } from '../ports/runtime.ts';
import type { AcquireOptions, Lease, PoolHealth, SandboxInfo, Sandboxes } from '../sandboxes.ts';
import { Sweeper } from './sweeper.ts';
import { Expired } from './time-to-live.ts';
import { Timers } from '../../lib/timers.ts';
import { WarmPool } from './warm.ts';
import { unknownSandbox } from './sentences.ts';
import type { SandboxRow, State } from '../../state/state.ts';
import type { Glance, SandboxStatus } from '../ports/workspace.ts';
import { detached } from '../../lib/detached.ts';

export interface PoolOptions extends AdmissionLimits {
  readonly runtime: Runtime;
  readonly state: State;
  readonly opener: Opener;
  readonly log: Logger;
  /** Template names, the default first. */
  readonly templates: readonly string[];
  /** Seconds without work after which a sandbox's container is stopped. */
  readonly idleTimeout: number;
  /** Seconds after which a stopped container is removed; 0 = at once. At most `maxSandboxes` are kept. */
  readonly removeAfter: number;
  /** Whether an idle sandbox's shell goes on with its directory, variables and functions after its wake. */
  readonly keepShell: boolean;
  /** Called before a running sandbox is ended, while it can still be looked at. Never rejects. */
  readonly leaving?: ((row: SandboxRow, live: Live) => Promise<void>) | undefined;
  /** Sandboxes kept ready, by template. */
  readonly warm: ReadonlyMap<string, number>;
  /** Seconds between two looks for idle and expired sandboxes. */
  readonly cleanupInterval: number;
  /** Days an unused workspace is kept; 0 = for ever. */
  readonly retention: number;
}

const adoptionsAtOnce = 4;
/** Seconds between two looks at the host's memory. */
const reliefInterval = 5;
/** Milliseconds for which an answer of the engine about itself is good. */
const engineAnswerAge = 2000;

/** Every sandbox of this installation: created at first use, idled out, woken, adopted after a restart. */
export class Pool implements Sandboxes, AsyncDisposable {
  readonly #options: PoolOptions;
  readonly #closing = new AbortController();
  readonly #roster: Roster;
  readonly #keeper: Keeper;
  readonly #admission: Admission;
  readonly #warm: WarmPool;
  readonly #sweeper: Sweeper;
  readonly #expired = new Expired();
  #engine: { at: number; info: Promise<PoolHealth['engine']> } | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#roster = new Roster(options.state);
    this.#admission = new Admission(this.#roster, options, (entry, seconds) =>
      this.#keeper.idleIfUnused(entry, seconds),
    );
    this.#keeper = new Keeper({
      ...options,
      roster: this.#roster,
      closing: this.#closing.signal,
      admit: (entry) => this.#admission.admit(entry, this.#closing.signal),
      freed: () => this.#admission.freed(),
      warm: (row, record) => (record ? this.#warm.adopt(row, record) : this.#warm.forget(row)),
    });
    this.#warm = new WarmPool({
      ...options,
      closing: this.#closing.signal,
      sizes: options.warm,
      room: () => this.#roomForWarm(),
    });
    this.#sweeper = new Sweeper({
      ...options,
      closing: this.#closing.signal,
      roster: this.#roster,
      keeper: this.#keeper,
      warm: this.#warm,
      expired: this.#expired,
    });
  }

  /** Begins to sweep, and adopts what runs, in the background. */
  start(): void {
    const { cleanupInterval, log } = this.#options;
    const failed = 'sandbox.sweep_failed';
    const rounds = [
      new Rounds(() => this.sweep(), { interval: cleanupInterval, log, failed }),
      new Rounds(() => this.#admission.relieve(), { interval: reliefInterval, log, failed }),
    ];
    this.#closing.signal.addEventListener('abort', () => rounds.map((each) => each[Symbol.dispose]()));
    detached(this.#keeper.adoptAll(adoptionsAtOnce).then(() => this.#warm.fill()));
  }

  async acquire(key: Key, options: AcquireOptions = {}): Promise<Lease> {
    this.#refuseWhenClosing();
    await this.#endIfOver(key);
    const entry = this.#entryOf(key, options.template);
    entry.bound = key.principal.sandboxes ?? entry.bound;
    entry.leases += 1;
    try {
      return this.#lease(entry, entry.live ?? (await this.#started(entry, options)));
    } catch (error) {
      this.#release(entry);
      throw error;
    }
  }

  held(handle: string): Lease | undefined {
    const entry = this.#closing.signal.aborted ? undefined : this.#roster.get(handle);
    if (!entry?.live || entry.ended) return undefined;
    entry.leases += 1;
    return this.#lease(entry, entry.live);
  }

  async create(
    principal: Principal,
    options: { template?: string; ttl?: number; signal?: AbortSignal } = {},
  ): Promise<SandboxInfo> {
    const handle = newHandle();
    const { template, ttl } = options;
    const entry = this.#enter({ handle, principal, scope: { kind: 'handle', id: handle }, template, ttl });
    const key: Key = { principal, scope: { kind: 'handle', id: entry.row.handle } };
    try {
      await using lease = await this.acquire(key, options.signal ? { signal: options.signal } : {});
      return info(entry.row, lease ? 'running' : 'idle');
    } catch (error) {
      await this.end(key).catch((err: unknown) => this.#options.log.warn({ event: 'sandbox.end_failed', err }));
      throw error;
    }
  }

  async keep(key: Key, ttl: number): Promise<SandboxInfo> {
    await this.#endIfOver(key);
    const entry = this.#known(key);
    if (!entry) throw new AppError('not_found', 'There is no sandbox to keep: nothing has started one here yet.');
    this.#options.state.extend(entry.row.handle, Date.now() + ttl * 1000);
    entry.row = { ...entry.row, expires: this.#expiryOf(entry) };
    return info(entry.row, this.#stateOf(entry.row));
  }

  /** As the state has it: it follows the wall clock when that is set. */
  #expiryOf({ row }: Entry): number | null {
    return row.expires === null ? null : (this.#options.state.get(row.handle)?.expires ?? null);
  }

  async ownerOf(handle: string): Promise<Principal | undefined> {
    const row = this.#options.state.get(handle);
    return row && { id: row.principal };
  }

  async list(principal: Principal): Promise<SandboxInfo[]> {
    const rows = () => this.#options.state.of(principal.id);
    for (const row of rows()) await this.#sweeper.endIfOver(row);
    return rows().map((row) => info(row, this.#stateOf(row)));
  }

  async end(key: Key, options: { keepWorkspace?: boolean } = {}): Promise<void> {
    const entry = this.#known(key);
    if (!entry) throw new AppError('not_found', 'There is no sandbox to end: nothing has started one here yet.');
    await entry.step(() => this.#keeper.end(entry, options.keepWorkspace ?? false, 'it was ended'));
  }

  async status(key: Key): Promise<SandboxStatus | null> {
    await this.#endIfOver(key);
    const entry = this.#known(key);
    if (!entry) return null;
    try {
      const live = entry.live ?? (await this.#keeper.adopted(entry));
      return live ? await this.#statusOf(entry, live) : this.#options.opener.describe(entry.row);
    } finally {
      this.#roster.settle(entry);
    }
  }

  glance(key: Key): Glance | null {
    const entry = this.#roster.find(key);
    const glance = entry?.live?.glance ?? null;
    if (entry) this.#roster.settle(entry);
    return glance;
  }

  has(key: Key): boolean {
    const entry = this.#roster.find(key);
    if (entry) this.#roster.settle(entry);
    return entry !== undefined;
  }

  async recreate(key: Key, scope: 'container' | 'workspace'): Promise<void> {
    const entry = this.#known(key);
    if (entry) await entry.step(() => this.#keeper.recreate(entry, scope));
  }

  async detach(key: Key): Promise<void> {
    if (key.scope.kind !== 'session') return;
    const entry = this.#roster.find(key);
    if (entry) await entry.step(() => this.#keeper.idleOut(entry, ['The session it belonged to ended.']));
  }

  async health(): Promise<PoolHealth> {
    const live = this.#roster.all().flatMap((entry) => entry.live ?? []);
    return {
      engine: await this.#engineInfo(),
      sandboxes: {
        known: this.#options.state.count(),
        running: live.length,
        limit: this.#options.maxSandboxes,
        waiting: this.#admission.waiting,
      },
      shellAlive: live.every((one) => one.alive()),
    };
  }

  /** Those that have a container. */
  running(): readonly SandboxRow[] {
    return this.lives().map(({ row }) => row);
  }

  lives(): readonly { readonly row: SandboxRow; readonly live: Live }[] {
    return this.#roster.all().flatMap(({ row, live }) => (live ? [{ row, live }] : []));
  }

  /** Ends a sandbox's container for a reason given as a clause; its workspace stays. */
  async stop(handle: string, why: string): Promise<void> {
    const entry = this.#roster.get(handle);
    if (entry) await entry.step(() => this.#keeper.stop(entry, why));
  }

  /** Idles out what has been without work for long enough, ends what has expired, forgets old workspaces. */
  sweep(): Promise<void> {
    return this.#sweeper.sweep();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(shuttingDown());
    await this.#sweeper.settled();
    await this.#warm.letGo();
    const entries = this.#roster.all();
    await Promise.allSettled(entries.map((entry) => entry.step(() => this.#keeper.letGo(entry))));
  }

  /** The key's sandbox if it has one. A handle that is nobody's, or another's, is refused. */
  #known(key: Key): Entry | undefined {
    const entry = this.#roster.find(key);
    if (!entry && key.scope.kind === 'handle') throw this.#expired.refusal(key);
    return entry;
  }

  /** A sandbox whose time to live has ended is gone at its next use, not only at the next sweep. */
  async #endIfOver(key: Key): Promise<void> {
    const row = this.#roster.find(key)?.row;
    if (row) await this.#sweeper.endIfOver(row);
  }

  #refuseWhenClosing(): void {
    if (this.#closing.signal.aborted) throw shuttingDown();
  }

  #entryOf(key: Key, template?: string): Entry {
    const known = this.#roster.find(key);
    if (known) return known;
    if (key.scope.kind === 'handle') throw this.#expired.refusal(key);
    return this.#enter({ ...key, handle: newHandle(), template });
  }

  /** A new sandbox: a ready one that becomes its owner's, or one that is yet to start. */
  #enter(what: Omit<NewRow, 'instance' | 'templates'>): Entry {
    const { state, templates } = this.#options;
    const row = newRow({ ...what, instance: state.instance, templates });
    const ready = this.#admission.hasRoomFor(row, what.principal.sandboxes) ? this.#warm.claim(row) : undefined;
    if (!ready) state.insert(row);
    const entry = this.#roster.remember(ready?.row ?? row);
    if (ready) this.#keeper.hold(entry, ready.live);
    return entry;
  }

  /** How many ready sandboxes may be added: none while callers wait. */
  #roomForWarm(): number {
    if (!this.#admission.hasRoom()) return 0;
    return this.#options.maxSandboxes - this.#roster.awake().length - this.#warm.size;
  }

  /** One start, however many callers wait for it; a caller that gives up leaves it to the others. */
  async #started(entry: Entry, options: AcquireOptions): Promise<Live> {
    using _listening = entry.listen(options.onProgress);
    options.onProgress?.('Starting the sandbox.');
    const starting = entry.step(async () => {
      this.#refuseWhenClosing();
      if (entry.ended) throw unknownSandbox();
      return await this.#keeper.start(entry);
    });
    using timers = new Timers();
    const cancelled = timers.aborted(options.signal).then(() => {
      throw new AppError('cancelled', 'The call was cancelled.');
    });
    return await Promise.race([starting, cancelled]);
  }

  #lease(entry: Entry, live: Live): Lease {
    let lost: readonly string[] | undefined;
    let held = true;
    const told = () => [...entry.takeLost(), ...entry.end.sentence(this.#expiryOf(entry))];
    const release = async () => {
      if (held) this.#release(entry);
      held = false;
    };
    return {
      workspace: live.workspace,
      get lost() {
        return (lost ??= told());
      },
      [Symbol.asyncDispose]: release,
    };
  }

  #release(entry: Entry): void {
    entry.leases -= 1;
    if (entry.leases === 0) entry.waiting?.abort(new AppError('cancelled', 'Nobody waits for the sandbox any more.'));
    entry.touch();
    this.#roster.settle(entry);
  }

  #stateOf(row: SandboxRow): SandboxInfo['state'] {
    const entry = this.#roster.get(row.handle);
    if (entry?.live || entry?.found) return 'running';
    return row.state === 'live' ? 'starting' : 'idle';
  }

  /** Where the sandbox comes to rest during the look, as it is then. */
  async #statusOf(entry: Entry, live: Live): Promise<SandboxStatus> {
    try {
      return await this.#liveStatus(entry, live);
    } catch (error) {
      if (entry.live === live) throw error;
      await entry.step(async () => {});
      if (entry.ended || entry.live) throw error;
      return this.#options.opener.describe(entry.row);
    }
  }

  async #liveStatus(entry: Entry, live: Live): Promise<SandboxStatus> {
    const status = await live.workspace.status();
    const working = entry.leases > 0 || isWorking(await live.activity());
    const left = this.#options.idleTimeout - entry.idleSeconds();
    return {
      ...status,
      lost: entry.lost,
      expires: info(entry.row, 'running').expires,
      idleDeadline: working ? null : new Date(Date.now() + left * 1000).toISOString(),
    };
  }

  #engineInfo(): Promise<PoolHealth['engine']> {
    const now = performance.now();
    if (this.#engine && now - this.#engine.at < engineAnswerAge) return this.#engine.info;
    const asked = this.#options.runtime.engine(AbortSignal.timeout(3000)).catch(() => null);
    this.#engine = { at: now, info: asked };
    return asked;
  }
}

function shuttingDown(): AppError {
  return new AppError('draining', 'The server is shutting down; call again in a moment.');
}

function info(row: SandboxRow, state: SandboxInfo['state']): SandboxInfo {
  return {
    sandbox: row.handle,
    template: row.template,
    state,
    created: new Date(row.created).toISOString(),
    expires: row.expires === null ? null : new Date(row.expires).toISOString(),
  };
}
