import { randomBytes } from 'node:crypto';
import { AppError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { Entry } from './entry.ts';
import type { Key, Principal } from './key.ts';
import { isWorking, type Live, type Opener } from './live.ts';
import { reconcile } from './reconcile.ts';
import type { ContainerRecord, Runtime } from './runtime.ts';
import type { AcquireOptions, Lease, PoolHealth, SandboxInfo, Sandboxes } from './sandboxes.ts';
import type { SandboxRow, State } from './state.ts';
import type { SandboxStatus } from './workspace.ts';

export interface PoolOptions {
  readonly runtime: Runtime;
  readonly state: State;
  readonly opener: Opener;
  readonly log: Logger;
  /** Template names, the default first. */
  readonly templates: readonly string[];
  /** Seconds without work after which a sandbox's container is removed. */
  readonly idleTimeout: number;
  /** Sandboxes with a container at the same time. */
  readonly maxSandboxes: number;
  /** Sandboxes one principal may have a container for at the same time; 0 = no bound of its own. */
  readonly maxPerPrincipal: number;
  /** Seconds between two looks for idle and expired sandboxes. */
  readonly cleanupInterval: number;
  /** Days an unused workspace is kept; 0 = for ever. */
  readonly retention: number;
  /** Sandboxes adopted side by side after a restart. */
  readonly adoptions?: number;
}

/** A sandbox idle for less than this many seconds is not given up for another one's start. */
const minimumIdle = 60;
const day = 86_400_000;

/** Every sandbox of this installation: created at first use, idled out, woken, adopted after a restart. */
export class Pool implements Sandboxes, AsyncDisposable {
  readonly #options: PoolOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #byKey = new Map<string, Entry>();
  readonly #closing = new AbortController();
  #reconciled: Promise<void> | undefined;
  #engine: { at: number; info: Promise<PoolHealth['engine']> } | undefined;
  #sweeping: Promise<void> | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** Begins to watch the engine and to sweep; adopts what runs, in the background. Never rejects. */
  start(): void {
    const timer = setInterval(() => void this.sweep(), this.#options.cleanupInterval * 1000).unref();
    this.#closing.signal.addEventListener('abort', () => clearInterval(timer));
    void this.#adoptAll();
  }

  async acquire(key: Key, options: AcquireOptions = {}): Promise<Lease> {
    this.#refuseWhenClosing();
    const entry = this.#entryOf(key, options.template);
    entry.bound = key.principal.sandboxes;
    entry.leases += 1;
    try {
      const live = entry.live ?? (await this.#opened(entry, options));
      return this.#lease(entry, live);
    } catch (error) {
      this.#release(entry);
      throw error;
    }
  }

  async create(
    principal: Principal,
    options: { template?: string; ttl?: number; signal?: AbortSignal } = {},
  ): Promise<SandboxInfo> {
    const handle = newHandle();
    const row = this.#newRow(principal, { kind: 'handle', id: handle }, handle, options);
    this.#options.state.insert(row);
    const key: Key = { principal, scope: { kind: 'handle', id: handle } };
    await using lease = await this.acquire(key, options.signal ? { signal: options.signal } : {});
    void lease;
    return info(row, 'running');
  }

  async list(principal: Principal): Promise<SandboxInfo[]> {
    return this.#options.state.of(principal.id).map((row) => info(row, this.#stateOf(row)));
  }

  async end(key: Key, options: { keepWorkspace?: boolean } = {}): Promise<void> {
    const entry = this.#existing(key);
    if (!entry) throw unknownSandbox();
    await entry.step(() => this.#end(entry, options.keepWorkspace ?? false, 'it was ended'));
  }

  async status(key: Key): Promise<SandboxStatus | null> {
    const entry = this.#existing(key);
    if (!entry) return null;
    try {
      return entry.live ? await this.#liveStatus(entry, entry.live) : this.#options.opener.describe(entry.row);
    } finally {
      this.#settle(entry);
    }
  }

  async recreate(key: Key, scope: 'container' | 'workspace'): Promise<void> {
    const entry = this.#existing(key);
    if (!entry) return;
    await entry.step(async () => {
      await this.#removeContainer(entry, 'it was reset');
      if (scope === 'workspace') await this.#replaceWorkspace(entry);
      this.#save(entry, { state: 'idle', lost: [] });
      this.#settle(entry);
    });
  }

  async detach(key: Key): Promise<void> {
    if (key.scope.kind !== 'session') return;
    const entry = this.#existing(key);
    if (!entry) return;
    await entry.step(() => this.#idleOut(entry, ['The session it belonged to ended.']));
  }

  async health(): Promise<PoolHealth> {
    const live = [...this.#entries.values()].flatMap((entry) => entry.live ?? []);
    return {
      engine: await this.#engineInfo(),
      sandboxes: { known: this.#options.state.count(), running: live.length, limit: this.#options.maxSandboxes },
      shellAlive: live.every((one) => one.alive()),
    };
  }

  /** Idles out what has been without work for long enough, ends what has expired, forgets old workspaces. */
  sweep(): Promise<void> {
    this.#sweeping ??= this.#sweep().finally(() => (this.#sweeping = undefined));
    return this.#sweeping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#sweeping?.catch(() => {});
    await Promise.allSettled([...this.#entries.values()].map((entry) => entry.step(async () => this.#letGo(entry))));
  }

  async #letGo(entry: Entry): Promise<void> {
    const live = entry.live;
    entry.live = undefined;
    if (live) this.#options.state.update({ ...entry.row, lastUsed: Date.now() });
    await live?.[Symbol.asyncDispose]();
  }

  #refuseWhenClosing(): void {
    if (this.#closing.signal.aborted)
      throw new AppError('draining', 'The server is shutting down; call again in a moment.');
  }

  #entryOf(key: Key, template?: string): Entry {
    const known = this.#existing(key);
    if (known) return known;
    if (key.scope.kind === 'handle') throw unknownSandbox();
    const row = this.#newRow(key.principal, key.scope, newHandle(), template === undefined ? {} : { template });
    this.#options.state.insert(row);
    return this.#remember(row);
  }

  #existing(key: Key): Entry | undefined {
    const known = this.#byKey.get(keyName(key));
    if (known && !known.ended) return known;
    const row = this.#options.state.find(key);
    return row && this.#remember(row);
  }

  #remember(row: SandboxRow): Entry {
    const known = this.#entries.get(row.handle);
    if (known) return known;
    const entry = new Entry(row);
    this.#entries.set(row.handle, entry);
    for (const name of namesOf(row)) this.#byKey.set(name, entry);
    return entry;
  }

  #forget(entry: Entry): void {
    if (this.#entries.get(entry.row.handle) !== entry) return;
    this.#entries.delete(entry.row.handle);
    for (const name of namesOf(entry.row)) this.#byKey.delete(name);
  }

  #newRow(
    principal: Principal,
    scope: Key['scope'],
    handle: string,
    options: { template?: string; ttl?: number },
  ): SandboxRow {
    const now = Date.now();
    return {
      handle,
      principal: principal.id,
      scopeKind: scope.kind,
      scopeId: 'id' in scope ? scope.id : '',
      template: this.#template(principal, options.template),
      volume: this.#volumeName(handle),
      state: 'idle',
      created: now,
      lastUsed: now,
      expires: options.ttl === undefined ? null : now + options.ttl * 1000,
      lost: [],
    };
  }

  #volumeName(handle: string): string {
    return `berth-${this.#options.state.instance}-${handle}-${randomBytes(3).toString('hex')}`;
  }

  #template(principal: Principal, asked: string | undefined): string {
    const allowed = this.#options.templates.filter((name) => principal.templates?.includes(name) ?? true);
    const chosen = asked ?? allowed[0];
    if (chosen !== undefined && allowed.includes(chosen)) return chosen;
    const choice = allowed.length > 0 ? `one of ${allowed.join(', ')}` : 'a template your key may use (it has none)';
    throw new AppError('invalid_argument', `template: expected ${choice}, got ${JSON.stringify(asked ?? null)}.`);
  }

  async #opened(entry: Entry, options: AcquireOptions): Promise<Live> {
    options.onProgress?.('Starting the sandbox.');
    const opening = entry.step(() => this.#start(entry));
    const live = await raceAbort(opening, options.signal);
    return live;
  }

  async #start(entry: Entry): Promise<Live> {
    if (entry.live) return entry.live;
    this.#refuseWhenClosing();
    if (entry.ended) throw unknownSandbox();
    await this.#reconcile();
    const live = entry.found ? await this.#adopt(entry, entry.found) : await this.#open(entry);
    entry.live = live;
    entry.touch();
    void live.closed.then((why) => this.#died(entry, live, why));
    return live;
  }

  async #open(entry: Entry): Promise<Live> {
    await this.#makeRoom(entry);
    const woken = entry.row.lost;
    this.#save(entry, { state: 'live' });
    try {
      const live = await this.#options.opener.open(entry.row, this.#closing.signal);
      this.#tell(entry, woken);
      this.#save(entry, { lost: [] });
      this.#options.log.info({
        event: 'sandbox.started',
        sandbox: entry.row.handle,
        template: entry.row.template,
        woken: woken.length > 0,
      });
      return live;
    } catch (error) {
      this.#save(entry, { state: 'idle' });
      throw error;
    }
  }

  async #adopt(entry: Entry, record: ContainerRecord): Promise<Live> {
    entry.found = undefined;
    try {
      const live = await this.#options.opener.adopt(entry.row, record, this.#closing.signal);
      this.#options.log.info({ event: 'sandbox.adopted', sandbox: entry.row.handle });
      return live;
    } catch (error) {
      this.#options.log.warn({ event: 'sandbox.adopt_failed', sandbox: entry.row.handle, err: error });
      await this.#options.runtime.container(record).remove();
      this.#save(entry, {
        state: 'idle',
        lost: [lostSentence('its container no longer answered after a restart of the server')],
      });
      return await this.#open(entry);
    }
  }

  #tell(entry: Entry, lost: readonly string[]): void {
    entry.lost = lost;
    entry.untold = lost.length > 0;
  }

  /** Refuses, or idles out the sandbox that has been without work for longest, when the host is full. */
  async #makeRoom(entry: Entry): Promise<void> {
    const { maxSandboxes } = this.#options;
    const maxPerPrincipal = entry.bound ?? this.#options.maxPerPrincipal;
    const live = this.#awake().filter((other) => other !== entry);
    const own = live.filter((other) => other.row.principal === entry.row.principal);
    if (maxPerPrincipal > 0 && own.length >= maxPerPrincipal && !(await this.#evict(own)))
      throw full(`You have ${own.length} sandboxes running, the most allowed`);
    if (live.length >= maxSandboxes && !(await this.#evict(live)))
      throw full(`All ${maxSandboxes} sandboxes of this server are in use`);
  }

  #awake(): Entry[] {
    return [...this.#entries.values()].filter((entry) => entry.row.state === 'live' && !entry.ended);
  }

  async #evict(candidates: Entry[]): Promise<boolean> {
    const byAge = candidates
      .filter((entry) => entry.leases === 0 && idleSeconds(entry) >= minimumIdle)
      .sort((a, b) => a.lastUsed - b.lastUsed);
    for (const entry of byAge) if (await this.#idleIfUnused(entry, minimumIdle)) return true;
    return false;
  }

  #lease(entry: Entry, live: Live): Lease {
    const lost = entry.takeLost();
    let held = true;
    const release = async () => {
      if (held) this.#release(entry);
      held = false;
    };
    return { workspace: live.workspace, lost, [Symbol.asyncDispose]: release };
  }

  #release(entry: Entry): void {
    entry.leases -= 1;
    entry.touch();
    this.#settle(entry);
  }

  /** Drops an entry that only its row needs: what is known costs memory only while it is awake. */
  #settle(entry: Entry): void {
    if (entry.leases === 0 && !entry.live && !entry.found && entry.row.state === 'idle') this.#forget(entry);
  }

  #died(entry: Entry, live: Live, why: string): void {
    if (entry.live !== live) return;
    entry.live = undefined;
    this.#options.log.warn({ event: 'sandbox.lost', sandbox: entry.row.handle, why });
    this.#save(entry, { state: 'idle', lost: [lostSentence(why)] });
    void entry.step(async () => {
      await live[Symbol.asyncDispose]();
      await live.container
        .remove()
        .catch((err: unknown) => this.#options.log.warn({ event: 'sandbox.remove_failed', err }));
    });
    this.#settle(entry);
  }

  async #sweep(): Promise<void> {
    for (const entry of [...this.#entries.values()]) {
      if (this.#closing.signal.aborted) return;
      await this.#idleIfUnused(entry, this.#options.idleTimeout).catch((err: unknown) =>
        this.#options.log.warn({ event: 'sandbox.sweep_failed', sandbox: entry.row.handle, err }),
      );
    }
    await this.#sweepRows();
  }

  async #sweepRows(): Promise<void> {
    const now = Date.now();
    for (const row of this.#options.state.all()) {
      const expired = row.expires !== null && row.expires <= now;
      const stale = this.#options.retention > 0 && now - row.lastUsed > this.#options.retention * day;
      if (!expired && !(stale && row.state === 'idle')) continue;
      const entry = this.#remember(row);
      await entry.step(() =>
        this.#end(entry, false, expired ? 'its time to live ended' : 'it was unused for too long'),
      );
    }
  }

  async #idleIfUnused(entry: Entry, seconds: number): Promise<boolean> {
    const unused = () => entry.leases === 0 && idleSeconds(entry) >= seconds;
    if (!entry.live || !unused()) return false;
    return await entry.step(async () => {
      if (!entry.live || !unused()) return false;
      if (isWorking(await entry.live.activity())) {
        entry.touch();
        return false;
      }
      if (!unused()) return false;
      await this.#idleOut(entry, [lostSentence(`it was idle for ${Math.round(idleSeconds(entry))} s`)]);
      return true;
    });
  }

  /** Removes the container and keeps the workspace. */
  async #idleOut(entry: Entry, lost: readonly string[]): Promise<void> {
    if (entry.found) await this.#options.runtime.container(entry.found).remove();
    entry.found = undefined;
    const live = entry.live;
    entry.live = undefined;
    this.#save(entry, { state: 'idle', lost });
    if (live) {
      await live[Symbol.asyncDispose]();
      await live.container.remove();
      this.#options.log.info({ event: 'sandbox.idled', sandbox: entry.row.handle });
    }
    this.#settle(entry);
  }

  async #removeContainer(entry: Entry, why: string): Promise<void> {
    if (entry.found) await this.#options.runtime.container(entry.found).remove();
    entry.found = undefined;
    const live = entry.live;
    entry.live = undefined;
    await live?.[Symbol.asyncDispose]();
    await live?.container.remove();
    this.#options.log.info({ event: 'sandbox.removed', sandbox: entry.row.handle, why });
  }

  async #replaceWorkspace(entry: Entry): Promise<void> {
    const old = entry.row.volume;
    this.#save(entry, { volume: this.#volumeName(entry.row.handle) });
    await this.#options.runtime.removeVolume(old);
  }

  async #end(entry: Entry, keepWorkspace: boolean, why: string): Promise<void> {
    if (entry.ended) return;
    await this.#removeContainer(entry, why);
    if (keepWorkspace) {
      this.#save(entry, { state: 'idle', lost: [lostSentence(why)] });
      this.#settle(entry);
      return;
    }
    await this.#options.runtime.removeVolume(entry.row.volume);
    entry.ended = true;
    this.#options.state.remove(entry.row.handle);
    this.#forget(entry);
  }

  #save(entry: Entry, change: Partial<SandboxRow>): void {
    entry.row = { ...entry.row, lastUsed: Date.now(), ...change };
    this.#options.state.update(entry.row);
  }

  #stateOf(row: SandboxRow): SandboxInfo['state'] {
    const entry = this.#entries.get(row.handle);
    if (entry?.live || entry?.found) return 'running';
    return row.state === 'live' ? 'starting' : 'idle';
  }

  async #liveStatus(entry: Entry, live: Live): Promise<SandboxStatus> {
    const status = await live.workspace.status();
    const working = entry.leases > 0 || isWorking(await live.activity());
    const left = this.#options.idleTimeout - idleSeconds(entry);
    return {
      ...status,
      lost: entry.lost,
      idleDeadline: working ? null : new Date(Date.now() + left * 1000).toISOString(),
      expires: entry.row.expires === null ? null : new Date(entry.row.expires).toISOString(),
    };
  }

  #engineInfo(): Promise<PoolHealth['engine']> {
    const now = performance.now();
    if (this.#engine && now - this.#engine.at < 2000) return this.#engine.info;
    const deadline = AbortSignal.timeout(3000);
    const asked = this.#options.runtime.engine(deadline).catch(() => null);
    this.#engine = { at: now, info: asked };
    return asked;
  }

  /** Matches the state with what the engine has, once; a failure is tried again at the next need. */
  #reconcile(): Promise<void> {
    this.#reconciled ??= this.#match().catch((error: unknown) => {
      this.#reconciled = undefined;
      throw error;
    });
    return this.#reconciled;
  }

  async #match(): Promise<void> {
    const { found, lost } = await reconcile(this.#options.runtime, this.#options.state, this.#options.log);
    for (const row of lost) {
      const entry = this.#remember(row);
      this.#save(entry, { state: 'idle', lost: [lostSentence('its container ended while the server was down')] });
      this.#settle(entry);
    }
    for (const [row, record] of found) this.#remember(row).found = record;
  }

  async #adoptAll(): Promise<void> {
    try {
      await this.#reconcile();
    } catch (err) {
      this.#options.log.warn({ event: 'engine.unavailable', err });
      return;
    }
    const waiting = [...this.#entries.values()].filter((entry) => entry.found);
    const adoptNext = async (): Promise<void> => {
      for (let entry = waiting.pop(); entry; entry = waiting.pop()) {
        const current = entry;
        await current
          .step(() => this.#start(current))
          .catch((err: unknown) => this.#options.log.warn({ event: 'sandbox.adopt_failed', err }));
      }
    };
    await Promise.all(Array.from({ length: this.#options.adoptions ?? 4 }, adoptNext));
  }
}

function newHandle(): string {
  return `sb_${randomBytes(12).toString('hex')}`;
}

function keyName(key: Key): string {
  return [key.principal.id, key.scope.kind, 'id' in key.scope ? key.scope.id : ''].join('\0');
}

/** Every key that leads to the row: its own, and its handle. */
function namesOf(row: SandboxRow): string[] {
  return [`${row.principal}\0${row.scopeKind}\0${row.scopeId}`, `${row.principal}\0handle\0${row.handle}`];
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

function idleSeconds(entry: Entry): number {
  return (performance.now() - entry.lastUsed) / 1000;
}

function unknownSandbox(): AppError {
  return new AppError(
    'not_found',
    'sandbox: expected a handle from create_sandbox or list_sandboxes, got one that does not exist.',
  );
}

function full(reason: string): AppError {
  return new AppError('busy', `${reason}; end one with end_sandbox or try again in a minute.`, {
    data: { retry_after: 60 },
  });
}

function lostSentence(why: string): string {
  return `The sandbox was started anew because ${why}: shell variables, functions, background processes, terminals and /tmp are gone; the files under /workspace are kept.`;
}

/** The promise's outcome, or the caller's abort, whichever is first; the work itself goes on for others. */
async function raceAbort<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return await work;
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(new AppError('cancelled', 'The call was cancelled.'));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
