import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { pino } from 'pino';
import { AppError } from '../../src/errors.ts';
import type { Key } from '../../src/identity/key.ts';
import type { Activity, Live, Opener } from '../../src/sandbox/lifecycle/live.ts';
import { Pool, type PoolOptions } from '../../src/sandbox/lifecycle/pool.ts';
import type { Container, ContainerRecord, Runtime } from '../../src/sandbox/ports/runtime.ts';
import { State, type SandboxRow } from '../../src/state/state.ts';
import type { SandboxStatus, Workspace } from '../../src/sandbox/ports/workspace.ts';

const idle: Activity = { running: false, processes: 0, watched: 0 };

/** An engine's ledger: what was opened, removed, and what still runs. */
class Engine implements Opener {
  readonly opened: string[] = [];
  readonly stopped: string[] = [];
  readonly removed: string[] = [];
  readonly volumesRemoved: string[] = [];
  readonly lives = new Map<string, { die: (why: string) => void }>();
  records: ContainerRecord[] = [];
  volumes: string[] = [];
  activity: Activity = idle;
  failures: Error[] = [];
  /** What it says to every removal. */
  refusal: Error | undefined;
  delay = 5;
  /** How long it takes to have a shell's state. */
  carrying: Promise<void> = Promise.resolve();
  /** What a look at a running sandbox meets. */
  look: () => Promise<void> = async () => {};
  /** How long removals take. */
  removal: Promise<void> = Promise.resolve();

  async open(row: SandboxRow): Promise<Live> {
    if (this.delay > 0) await sleep(this.delay);
    const failure = this.failures.shift();
    if (failure) throw failure;
    this.opened.push(row.handle);
    return this.#live(row);
  }

  async adopt(row: SandboxRow): Promise<Live> {
    return this.#live(row);
  }

  /** What containers are made from at present. */
  spec = 'spec';

  async specOf(): Promise<string> {
    return this.spec;
  }

  describe(row: SandboxRow): SandboxStatus {
    return { sandbox: row.handle, state: 'idle' } as SandboxStatus;
  }

  #live(row: SandboxRow): Live {
    const closed = Promise.withResolvers<string>();
    this.lives.set(row.handle, { die: closed.resolve });
    const live: Live = {
      container: this.container(row.handle),
      workspace: {
        handle: row.handle,
        status: async () => {
          await this.look();
          return { sandbox: row.handle, state: 'running' } as SandboxStatus;
        },
      } as Workspace,
      activity: async () => this.activity,
      alive: () => true,
      closed: closed.promise,
      carry: async () => {
        await this.carrying;
        return Buffer.from(`shell of ${row.handle}`);
      },
      claimedBy: (owner) => ({ ...live, workspace: { ...live.workspace, handle: owner.handle } }),
      [Symbol.asyncDispose]: async () => {},
    };
    return live;
  }

  container(name: string): Container {
    const end = (ledger: string[]) => async () => {
      if (this.refusal) throw this.refusal;
      await this.removal;
      ledger.push(name);
    };
    return { id: name, name, stop: end(this.stopped), remove: end(this.removed) } as unknown as Container;
  }

  /** Empties the ledger. */
  forget(): void {
    this.opened.length = this.stopped.length = this.removed.length = 0;
    this.lives.clear();
  }

  get runtime(): Runtime {
    return {
      list: async () => this.records,
      container: (record: ContainerRecord) => this.container(record.name),
      find: async (name: string) => ({ id: name, name: name.replace(/^berth-[^-]+-/, '') }),
      volumes: async () => this.volumes,
      reap: async () => [],
      removeVolume: async (name: string) => {
        if (this.refusal) throw this.refusal;
        this.volumesRemoved.push(name);
      },
      engine: async () => ({ name: 'ledger' }),
    } as unknown as Runtime;
  }
}

const gibibyte = 1024 ** 3;

/** Refuses at once what there is no place for. */
const entrance = {
  maxStarts: 8,
  memory: { each: 0, total: 0, of: () => gibibyte, largest: gibibyte },
  queue: { longest: 200, wait: 0 },
};

interface Bench {
  readonly engine: Engine;
  readonly state: State;
  readonly pool: Pool;
}

function bench(t: TestContext, options: Partial<PoolOptions> = {}): Bench {
  const directory = mkdtempSync(join(tmpdir(), 'berth-pool-'));
  const state = new State(directory);
  const engine = new Engine();
  t.after(() => {
    state[Symbol.dispose]();
    rmSync(directory, { recursive: true });
  });
  return { engine, state, pool: server(t, { engine, state }, options) };
}

/** A pool over what an earlier one may have left. */
function server(
  t: TestContext,
  { engine, state, list }: Omit<Bench, 'pool'> & { list?: Runtime['list'] },
  options: Partial<PoolOptions> = {},
): Pool {
  const pool = new Pool({
    runtime: { ...engine.runtime, ...(list && { list }) },
    state,
    opener: engine,
    log: pino({ level: 'silent' }),
    templates: ['data', 'base'],
    warm: new Map(),
    idleTimeout: 3600,
    removeAfter: 3600,
    keepShell: true,
    maxSandboxes: 10,
    maxPerPrincipal: 0,
    ...entrance,
    cleanupInterval: 3600,
    retention: 0,
    ...options,
  });
  t.after(() => pool[Symbol.asyncDispose]());
  return pool;
}

function chat(id: string, principal = 'alice'): Key {
  return { principal: { id: principal }, scope: { kind: 'conversation', id } };
}

function byHandle(id: string, principal = 'alice'): Key {
  return { principal: { id: principal }, scope: { kind: 'handle', id } };
}

/** The sandbox of a chat that made a call. */
/** What a call in it is told. */
async function toldIn(pool: Pool, handle: string): Promise<readonly string[]> {
  await using lease = await pool.acquire(byHandle(handle));
  return lease.lost;
}

async function used(pool: Pool, id: string): Promise<{ handle: string }> {
  await using lease = await pool.acquire(chat(id));
  return { handle: lease.workspace.handle };
}

test('many first calls of one chat make one sandbox', async (t) => {
  const { pool, engine } = bench(t);
  const leases = await Promise.all(Array.from({ length: 20 }, () => pool.acquire(chat('a'))));
  assert.equal(engine.opened.length, 1);
  assert.equal(new Set(leases.map((lease) => lease.workspace.handle)).size, 1);
});

test('the same chat id of two principals is two sandboxes, and a foreign handle is as unknown as none', async (t) => {
  const { pool, engine } = bench(t);
  await using mine = await pool.acquire(chat('a', 'alice'));
  await using theirs = await pool.acquire(chat('a', 'bob'));
  assert.notEqual(mine.workspace.handle, theirs.workspace.handle);
  assert.equal(engine.opened.length, 2);
  const refusals = await Promise.all(
    [theirs.workspace.handle, 'sb_unknown'].map((handle) =>
      pool.acquire(byHandle(handle, 'alice')).catch((error: AppError) => [error.code, error.message]),
    ),
  );
  assert.deepEqual(refusals[0], refusals[1]);
  assert.deepEqual(refusals[0], [
    'not_found',
    'sandbox: expected a handle from create_sandbox or list_sandboxes, got one that does not exist.',
  ]);
  await assert.rejects(pool.end(byHandle(theirs.workspace.handle, 'alice')), { code: 'not_found' });
});

test('a running sandbox is looked at once more before it is stopped, reset, or ended in any way', async (t) => {
  const looked: string[] = [];
  const leaving = async ({ handle }: SandboxRow, { container }: Live) => {
    looked.push(handle);
    assert.equal(engine.removed.includes(container.name) || engine.stopped.includes(container.name), false);
  };
  const { pool, engine } = bench(t, { leaving, idleTimeout: 0 });
  const [ended, reset, stopped] = [await used(pool, 'a'), await used(pool, 'b'), await used(pool, 'c')];
  await pool.end(chat('a'));
  await pool.recreate(chat('b'), 'container');
  await pool.stop(stopped.handle, 'it was too large');
  const idled = await used(pool, 'd');
  await pool.sweep();
  assert.deepEqual(looked, [ended.handle, reset.handle, stopped.handle, idled.handle]);
});

test('a start that fails leaves nothing, and the next call tries again', async (t) => {
  const { pool, engine } = bench(t);
  engine.failures.push(new AppError('image_missing', 'No image.'));
  await assert.rejects(pool.acquire(chat('a')), { code: 'image_missing' });
  await using lease = await pool.acquire(chat('a'));
  assert.equal(engine.opened.length, 1);
  assert.deepEqual(lease.lost, []);
});

test('a caller that gives up leaves the start to the others', async (t) => {
  const { pool, engine } = bench(t);
  engine.delay = 50;
  const gone = new AbortController();
  const first = pool.acquire(chat('a'), { signal: gone.signal });
  const second = pool.acquire(chat('a'));
  gone.abort();
  await assert.rejects(first, { code: 'cancelled' });
  await using lease = await second;
  assert.ok(lease.workspace.handle);
  assert.equal(engine.opened.length, 1);
});

test('an idle sandbox is stopped and keeps its workspace; the next call is told once', async (t) => {
  const { pool, engine } = bench(t, { idleTimeout: 0 });
  const first = await pool.acquire(chat('a'));
  const { handle } = first.workspace;
  await pool.sweep();
  assert.deepEqual(engine.stopped, [], 'a lease holds it');
  await first[Symbol.asyncDispose]();
  await pool.sweep();
  assert.deepEqual([engine.stopped, engine.removed, engine.volumesRemoved], [[handle], [], []]);
  const woken = await pool.acquire(chat('a'));
  assert.equal(woken.workspace.handle, handle);
  assert.match(
    woken.lost[0] ?? '',
    /^The sandbox was started anew because it was idle for 0 s: .*the files under \/workspace are kept\.$/,
  );
  assert.equal(woken.lost[1], 'The shell is a new one, without the directory, variables and functions of the old one.');
  const again = await pool.acquire(chat('a'));
  assert.deepEqual(again.lost, []);
});

test('what a wake could not bring back waits for a call that tells it', async (t) => {
  const { pool } = bench(t, { idleTimeout: 0 });
  await used(pool, 'a');
  await pool.sweep();
  await used(pool, 'a');
  await using lease = await pool.acquire(chat('a'));
  assert.match(lease.lost[0] ?? '', /because it was idle/);
  await using next = await pool.acquire(chat('a'));
  assert.deepEqual(next.lost, []);
});

test('a stopped sandbox loses its container in time, and its retention still counts from its last use', async (t) => {
  const { pool, engine, state } = bench(t, { idleTimeout: 0, removeAfter: 1 });
  const { handle } = await used(pool, 'a');
  await pool.sweep();
  const { lastUsed } = state.get(handle) as SandboxRow;
  assert.deepEqual([engine.stopped, engine.removed], [[handle], []]);
  await sleep(1100);
  await pool.sweep();
  await pool.sweep();
  assert.deepEqual([engine.removed, engine.volumesRemoved], [[handle], []]);
  assert.deepEqual([state.get(handle)?.state, state.get(handle)?.lastUsed], ['idle', lastUsed]);
});

test('the state of an idle sandbox’s shell is kept, unless that is not wanted or the sandbox is reset', async (t) => {
  for (const [keepShell, kept] of [
    [true, 'shell of '],
    [false, ''],
  ] as const) {
    const { pool, state } = bench(t, { idleTimeout: 0, keepShell });
    const { handle } = await used(pool, 'a');
    await pool.sweep();
    assert.equal(Buffer.from(state.takeShell(handle) ?? []).toString(), kept && kept + handle);
    await pool.recreate(chat('a'), 'container');
    assert.equal(state.takeShell(handle), undefined);
  }
});

test('a call that comes while the shell’s state is fetched keeps the sandbox awake', async (t) => {
  const { pool, engine } = bench(t, { idleTimeout: 0 });
  const { handle } = await used(pool, 'a');
  const fetched = Promise.withResolvers<void>();
  engine.carrying = fetched.promise;
  const sweep = pool.sweep();
  await sleep(20);
  await using lease = await pool.acquire(chat('a'));
  fetched.resolve();
  await sweep;
  assert.equal(lease.workspace.handle, handle);
  assert.deepEqual([engine.stopped, engine.removed], [[], []]);
});

test('where no stopped container is wanted, an idle one is removed at once', async (t) => {
  const { pool, engine } = bench(t, { idleTimeout: 0, removeAfter: 0 });
  const { handle } = await used(pool, 'a');
  await pool.sweep();
  assert.deepEqual([engine.stopped, engine.removed, engine.volumesRemoved], [[], [handle], []]);
});

test('of many stopped containers the ones used last are kept', async (t) => {
  const { pool, engine } = bench(t, { idleTimeout: 0, maxSandboxes: 2 });
  const handles = [];
  for (const id of ['a', 'b', 'c']) {
    handles.push((await used(pool, id)).handle);
    await pool.sweep();
    await sleep(5);
  }
  await pool.sweep();
  assert.deepEqual([engine.stopped, engine.removed], [handles, handles.slice(0, 1)]);
});

test('ending a stopped sandbox removes its container and its workspace', async (t) => {
  const { pool, engine, state } = bench(t, { idleTimeout: 0 });
  const { handle } = await used(pool, 'a');
  const { volume } = state.get(handle) as SandboxRow;
  await pool.sweep();
  await pool.end(chat('a'));
  assert.deepEqual([engine.removed, engine.volumesRemoved], [[handle], [volume]]);
});

test('a wake that fails leaves the stopped container for the next try, and the next server', async (t) => {
  const { pool, engine, state } = bench(t, { idleTimeout: 0 });
  const { handle } = await used(pool, 'a');
  await pool.sweep();
  engine.failures.push(new AppError('engine_unavailable', 'Away.'));
  await assert.rejects(pool.acquire(chat('a')), { code: 'engine_unavailable' });
  assert.equal(state.get(handle)?.state, 'stopped');
  await pool[Symbol.asyncDispose]();
  const labels = { 'berth.sandbox': handle };
  engine.records = [{ id: handle, name: handle, labels, state: 'exited', created: 0 }];
  await using woken = await server(t, { engine, state }).acquire(chat('a'));
  assert.equal(woken.workspace.handle, handle);
  assert.match(woken.lost[0] ?? '', /because it was idle for 0 s: /);
  assert.deepEqual(engine.removed, []);
});

for (const [what, activity] of [
  ['a running command', { ...idle, running: true }],
  ['a background job', { ...idle, processes: 1 }],
  ['a watched terminal', { ...idle, watched: 1 }],
] as const) {
  test(`${what} keeps a sandbox from being idled out`, async (t) => {
    const { pool, engine } = bench(t, { idleTimeout: 0 });
    engine.activity = activity;
    await (await pool.acquire(chat('a')))[Symbol.asyncDispose]();
    await pool.sweep();
    assert.deepEqual(engine.stopped, []);
    engine.activity = idle;
    await pool.sweep();
    assert.equal(engine.stopped.length, 1);
  });
}

test('a container that dies is reported to the next call, which gets a new one over the same workspace', async (t) => {
  const { pool, engine, state } = bench(t);
  const first = await pool.acquire(chat('a'));
  const { handle } = first.workspace;
  const { volume } = state.get(handle) as SandboxRow;
  engine.lives.get(handle)?.die('its container was killed');
  await first[Symbol.asyncDispose]();
  await using next = await pool.acquire(chat('a'));
  assert.equal(next.workspace.handle, handle);
  assert.match(next.lost[0] ?? '', /because its container was killed: /);
  assert.equal(state.get(handle)?.volume, volume);
  assert.equal(engine.opened.length, 2);
});

test('a new container waits until the dead one is gone, though nobody held the sandbox meanwhile', async (t) => {
  const { pool, engine } = bench(t);
  const { handle } = await used(pool, 'a');
  const removal = Promise.withResolvers<void>();
  engine.removal = removal.promise;
  engine.lives.get(handle)?.die('its container was killed');
  await sleep(20);
  const next = pool.acquire(chat('a'));
  await sleep(50);
  assert.equal(engine.opened.length, 1);
  removal.resolve();
  await using lease = await next;
  assert.equal(lease.workspace.handle, handle);
  assert.equal(engine.opened.length, 2);
});

test('a chat whose sandbox is being ended gets one new sandbox, and keeps it', async (t) => {
  const { pool, engine } = bench(t);
  await used(pool, 'a');
  const ending = pool.end(chat('a'));
  const early = used(pool, 'a').catch((error: AppError) => error.code);
  await ending;
  const { handle } = await used(pool, 'a');
  await early;
  assert.equal((await used(pool, 'a')).handle, handle);
  assert.equal((await pool.list({ id: 'alice' })).length, 1);
  assert.equal(engine.lives.size, 2);
});

test('beyond max_sessions a start is refused, and nothing is taken from anybody', async (t) => {
  const { pool, engine } = bench(t, { maxSandboxes: 1 });
  await (await pool.acquire(chat('a')))[Symbol.asyncDispose]();
  await assert.rejects(pool.acquire(chat('b')), {
    code: 'busy',
    message: 'All 1 sandboxes of this server are in use; end one of yours with end_sandbox or try again in 30 s.',
    data: { retry_after: 30, position: 1, waiting: 1 },
  });
  assert.deepEqual(engine.removed, []);
});

test('of two first calls for the last place one is refused', async (t) => {
  const { pool, engine } = bench(t, { maxSandboxes: 1 });
  const outcomes = await Promise.allSettled([pool.acquire(chat('a')), pool.acquire(chat('b'))]);
  assert.deepEqual(outcomes.map((outcome) => outcome.status).sort(), ['fulfilled', 'rejected']);
  assert.equal(engine.opened.length, 1);
});

test('ending removes container, workspace and handle; ending again says there is none', async (t) => {
  const { pool, engine, state } = bench(t);
  const created = await pool.create({ id: 'alice' }, { template: 'base', ttl: 60 });
  assert.equal(created.template, 'base');
  const { volume } = state.get(created.sandbox) as SandboxRow;
  await pool.end(byHandle(created.sandbox));
  assert.deepEqual([engine.removed, engine.volumesRemoved], [[created.sandbox], [volume]]);
  await assert.rejects(pool.end(byHandle(created.sandbox)), { code: 'not_found' });
  assert.deepEqual(await pool.list({ id: 'alice' }), []);
});

test('a sandbox whose time to live ended is removed with its workspace', async (t) => {
  const { pool, engine } = bench(t);
  await pool.create({ id: 'alice' }, { ttl: 0.1 });
  await sleep(120);
  await pool.sweep();
  assert.equal(engine.volumesRemoved.length, 1);
  assert.deepEqual(await pool.list({ id: 'alice' }), []);
});

for (const [what, use] of [
  ['a call', (pool: Pool, handle: string) => pool.acquire(byHandle(handle))],
  ['a look', (pool: Pool, handle: string) => pool.status(byHandle(handle))],
] as const)
  test(`a sandbox whose time to live ended is gone at ${what}, before any sweep`, async (t) => {
    const { pool, engine } = bench(t);
    const { sandbox } = await pool.create({ id: 'alice' }, { ttl: 0.1 });
    await sleep(120);
    await assert.rejects(use(pool, sandbox), { code: 'not_found' });
    assert.deepEqual([engine.removed, engine.volumesRemoved.length], [[sandbox], 1]);
  });

test('the end of a time to live is told before, once at each distance', async (t) => {
  const { pool } = bench(t);
  const { sandbox } = await pool.create({ id: 'alice' }, { ttl: 590 });
  const told = async () => (await toldIn(pool, sandbox)).join();
  assert.match(await told(), /^This sandbox ends in 5(8|9)\d seconds, at \S+Z, with all its files: .* keep_sandbox\.$/);
  assert.equal(await told(), '');
});

test('the end of a time to live is told after, to its owner alone', async (t) => {
  const { pool } = bench(t);
  const { sandbox } = await pool.create({ id: 'alice' }, { ttl: 0.1 });
  await sleep(120);
  await pool.sweep();
  const over = {
    code: 'not_found',
    message: /^sandbox: this one ended at \S+Z, with all its files, as its ttl was over/,
  };
  await assert.rejects(pool.acquire(byHandle(sandbox)), over);
  await assert.rejects(pool.status(byHandle(sandbox)), over);
  await assert.rejects(pool.acquire(byHandle(sandbox, 'bob')), { message: /got one that does not exist/ });
});

test('a time to live can be put off, never brought forward', async (t) => {
  const { pool } = bench(t);
  const { sandbox } = await pool.create({ id: 'alice' }, { ttl: 0.1 });
  const kept = await pool.keep(byHandle(sandbox), 3600);
  await sleep(120);
  await pool.sweep();
  assert.deepEqual(await toldIn(pool, sandbox), [], 'the end is far');
  assert.deepEqual((await pool.keep(byHandle(sandbox), 5)).expires, kept.expires);
  assert.equal((await pool.status(byHandle(sandbox)))?.expires, kept.expires);
  await assert.rejects(pool.keep(byHandle(sandbox, 'bob'), 60), { code: 'not_found' });
});

test('a sandbox whose time to live ended is listed no more', async (t) => {
  const { pool } = bench(t);
  await pool.create({ id: 'alice' }, { ttl: 0.1 });
  await sleep(120);
  assert.deepEqual(await pool.list({ id: 'alice' }), []);
});

test('a sandbox that comes to rest while it is looked at is told as it is then', async (t) => {
  const { pool, engine } = bench(t);
  const { handle } = await used(pool, 'a');
  const asked = Promise.withResolvers<void>();
  engine.look = async () => {
    await asked.promise;
    throw new AppError('sandbox_lost', 'The sandbox has stopped.');
  };
  const looking = pool.status(chat('a'));
  await pool.stop(handle, 'it was stopped');
  asked.resolve();
  assert.deepEqual(await looking, { sandbox: handle, state: 'idle' });
});

test('a template is chosen by name among those the principal may use', async (t) => {
  const { pool } = bench(t);
  await assert.rejects(pool.create({ id: 'a' }, { template: 'x' }), {
    message: 'template: expected one of data, base, got "x".',
  });
  await assert.rejects(pool.create({ id: 'a', templates: ['base'] }, { template: 'data' }), {
    message: 'template: expected one of base, got "data".',
  });
});

test('the end of a session removes the container of a sandbox keyed by it, and no other', async (t) => {
  const { pool, engine } = bench(t);
  const session: Key = { principal: { id: 'alice' }, scope: { kind: 'session', id: 's1' } };
  const { handle } = (await pool.acquire(session)).workspace;
  await pool.acquire(chat('a'));
  await pool.detach(chat('a'));
  assert.deepEqual(engine.removed, []);
  await pool.detach(session);
  assert.deepEqual([engine.removed, engine.volumesRemoved], [[handle], []]);
});

test('a new server adopts what runs, removes what never started, keeps what it does not know, and says what ended meanwhile', async (t) => {
  const { pool, engine, state } = bench(t);
  const handles = await Promise.all(['a', 'b'].map(async (id) => (await pool.acquire(chat(id))).workspace.handle));
  await pool[Symbol.asyncDispose]();
  const record = (handle: string, state: ContainerRecord['state']): ContainerRecord => ({
    id: handle,
    name: handle,
    labels: { 'berth.sandbox': handle },
    state,
    created: 0,
  });
  engine.records = [
    record(handles[0] ?? '', 'running'),
    record(handles[1] ?? '', 'exited'),
    record('sb_half', 'created'),
    record('sb_stranger', 'running'),
    record('sb_other', 'exited'),
  ];
  state.doom('vol-doomed');
  engine.volumes = ['vol-stranger', 'vol-doomed', state.get(handles[0] ?? '')?.volume ?? ''];
  const next = server(t, { engine, state });
  const [adopted, reopened] = [await next.acquire(chat('a')), await next.acquire(chat('b'))];
  assert.deepEqual(engine.removed.sort(), [handles[1], 'sb_half'].sort());
  assert.deepEqual([engine.volumesRemoved, state.doomed()], [['vol-doomed'], []]);
  assert.deepEqual([adopted.workspace.handle, reopened.workspace.handle], handles);
  assert.deepEqual(adopted.lost, []);
  assert.match(reopened.lost[0] ?? '', /its container ended while the server was down/);
  assert.equal(engine.opened.length, 3);
});

test('what an earlier server left and the engine does not let go of keeps nobody from anything', async (t) => {
  const { engine, state } = bench(t);
  engine.records = [{ id: 'x', name: 'x', labels: {}, state: 'created', created: 0 }];
  engine.volumes = ['mounted elsewhere'];
  state.doom('mounted elsewhere');
  engine.refusal = new AppError('internal', 'The container engine could not remove a workspace; the log says why.');
  const next = server(t, { engine, state });
  await using lease = await next.acquire(chat('a'));
  assert.deepEqual(engine.opened, [lease.workspace.handle]);
  assert.deepEqual([engine.removed, engine.volumesRemoved], [[], []]);
  assert.deepEqual(state.doomed(), ['mounted elsewhere']);
});

test('a container that runs though an older state has its sandbox asleep is adopted, with the workspace it has', async (t) => {
  const { pool, engine, state } = bench(t);
  const { handle } = await used(pool, 'a');
  await pool[Symbol.asyncDispose]();
  state.update({ ...state.get(handle)!, state: 'idle' });
  const labels = { 'berth.sandbox': handle };
  engine.records = [{ id: handle, name: handle, labels, state: 'running', created: 0, workspace: 'vol-later' }];
  engine.forget();
  await using lease = await server(t, { engine, state }).acquire(chat('a'));
  assert.deepEqual([lease.workspace.handle, engine.opened, engine.removed], [handle, [], []]);
  assert.deepEqual([state.get(handle)?.state, state.get(handle)?.volume], ['live', 'vol-later']);
});

for (const [what, act] of [
  ['resetting', (pool: Pool) => pool.recreate(chat('a'), 'container')],
  ['ending', (pool: Pool) => pool.end(chat('a'))],
] as const)
  test(`${what} a sandbox removes its container though a new server does not yet know it`, async (t) => {
    const { pool, engine, state } = bench(t);
    const { handle } = (await pool.acquire(chat('a'))).workspace;
    await pool[Symbol.asyncDispose]();
    const labels = { 'berth.sandbox': handle };
    const listed = Promise.withResolvers<ContainerRecord[]>();
    const next = server(t, { engine, state, list: () => listed.promise });
    next.start();
    const done = act(next);
    await sleep(5);
    listed.resolve([{ id: handle, name: handle, labels, state: 'running', created: 0 }]);
    await done;
    assert.deepEqual(engine.removed, [handle]);
    await next.acquire(chat('a'));
    assert.equal(engine.opened.length, 2);
  });

/** Waits until the background has started what it wants. */
async function settled(engine: Engine, opened: number): Promise<void> {
  for (let i = 0; i < 200 && engine.opened.length < opened; i++) await sleep(5);
  await sleep(20);
}

test('the status of what an earlier server left running is that of a running sandbox', async (t) => {
  const { pool, engine, state } = bench(t);
  const { handle } = await used(pool, 'a');
  await pool[Symbol.asyncDispose]();
  engine.records = [{ id: handle, name: handle, labels: { 'berth.sandbox': handle }, state: 'running', created: 0 }];
  engine.forget();
  const status = await server(t, { engine, state }).status(chat('a'));
  assert.deepEqual([status?.sandbox, status?.state, engine.opened], [handle, 'running', []]);
});

test('a first call takes a ready sandbox, which no other principal ever gets, and another is made ready', async (t) => {
  const { pool, engine, state } = bench(t, { warm: new Map([['data', 1]]) });
  pool.start();
  await settled(engine, 1);
  const [ready] = engine.opened;
  await using mine = await pool.acquire(chat('a', 'alice'));
  assert.equal(mine.workspace.handle, ready);
  const row = state.get(ready ?? '');
  assert.deepEqual([row?.principal, row?.scopeKind, row?.scopeId, row?.state], ['alice', 'conversation', 'a', 'live']);
  await settled(engine, 2);
  await using theirs = await pool.acquire(chat('a', 'bob'));
  assert.equal(theirs.workspace.handle, engine.opened[1]);
  assert.notEqual(theirs.workspace.handle, mine.workspace.handle);
  await assert.rejects(pool.acquire(byHandle(ready ?? '', 'bob')), { code: 'not_found' });
});

test('create_sandbox takes a ready sandbox under its own handle', async (t) => {
  const { pool, engine } = bench(t, { warm: new Map([['data', 1]]) });
  pool.start();
  await settled(engine, 1);
  const created = await pool.create({ id: 'alice' });
  assert.equal(created.sandbox, engine.opened[0]);
  await using lease = await pool.acquire(byHandle(created.sandbox));
  assert.equal(lease.workspace.handle, created.sandbox);
});

test('a ready sandbox is nobody’s: no list, no count, no handle shows it', async (t) => {
  const { pool, engine } = bench(t, { warm: new Map([['data', 2]]) });
  pool.start();
  await settled(engine, 2);
  assert.deepEqual(await pool.list({ id: 'alice' }), []);
  assert.deepEqual((await pool.health()).sandboxes, { known: 0, running: 0, limit: 10, waiting: 0 });
  await assert.rejects(pool.acquire(byHandle(engine.opened[0] ?? '')), { code: 'not_found' });
});

test('a ready sandbox that dies while the engine does not answer ends nothing but itself', async (t) => {
  const { pool, engine } = bench(t, { warm: new Map([['data', 1]]) });
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => unhandled.push(reason);
  process.on('unhandledRejection', note);
  t.after(() => process.off('unhandledRejection', note));
  pool.start();
  await settled(engine, 1);
  const [dead] = engine.opened;
  engine.refusal = new AppError('engine_unavailable', 'The container engine is not running.');
  engine.lives.get(dead ?? '')?.die('its container is gone');
  await settled(engine, 2);
  assert.deepEqual(unhandled, []);
  const { handle } = await used(pool, 'a');
  assert.notEqual(handle, dead);
});

test('ready sandboxes leave room for callers', async (t) => {
  const { pool, engine } = bench(t, { warm: new Map([['data', 5]]), maxSandboxes: 2 });
  pool.start();
  await settled(engine, 2);
  assert.equal(engine.opened.length, 2);
});

for (const [what, spec, removed] of [
  ['adopts a ready sandbox that fits its template', 'spec', false],
  ['removes a ready sandbox whose template has changed', 'another', true],
] as const) {
  test(`a new server ${what}`, async (t) => {
    const { pool, engine, state } = bench(t, { warm: new Map([['data', 1]]) });
    pool.start();
    await settled(engine, 1);
    const ready = engine.opened[0] ?? '';
    await pool[Symbol.asyncDispose]();
    const labels = { 'berth.sandbox': ready, 'berth.spec': spec };
    engine.records = [{ id: ready, name: ready, labels, state: 'running', created: 0 }];
    engine.volumes = [state.get(ready)?.volume ?? ''];
    const next = server(t, { engine, state }, { warm: new Map([['data', 1]]) });
    next.start();
    await sleep(50);
    await using lease = await next.acquire(chat('a'));
    assert.equal(lease.workspace.handle === ready, !removed);
    assert.deepEqual(engine.removed, removed ? [ready] : []);
  });
}

test('ready sandboxes are replaced when their image has been rebuilt', async (t) => {
  const { pool, engine } = bench(t, { warm: new Map([['data', 1]]) });
  pool.start();
  await sleep(50);
  const [old] = engine.opened;
  engine.spec = 'of the new image';
  await pool.sweep();
  await sleep(50);
  const [, fresh, ...more] = engine.opened;
  assert.deepEqual([engine.removed, more], [[old], []]);
  assert.equal((await used(pool, 'a')).handle, fresh);
});

test('after the shutdown has begun a call gets a typed refusal', async (t) => {
  const { pool } = bench(t);
  await pool[Symbol.asyncDispose]();
  await assert.rejects(pool.acquire(chat('a')), { code: 'draining' });
});

test('a sandbox that is stopped for a reason tells the reason to the next caller and keeps its workspace', async (t) => {
  const { engine, pool } = bench(t);
  const lease = await pool.acquire(chat('one'));
  const { handle } = lease.workspace;
  const stopping = pool.stop(handle, 'its workspace held 3 MiB, more than its 2 MiB');
  await sleep(5);
  engine.lives.get(handle)?.die('its container ended');
  await stopping;
  await lease[Symbol.asyncDispose]();
  await using next = await pool.acquire(chat('one'));
  assert.equal(next.workspace.handle, handle);
  assert.match(
    next.lost[0] ?? '',
    /^The sandbox was started anew because its workspace held 3 MiB, more than its 2 MiB:/,
  );
  assert.deepEqual(engine.volumesRemoved, []);
  assert.deepEqual(new Set(engine.removed), new Set([handle]));
});

test('a principal with a bound of his own is held to that, others to the common one', async (t) => {
  const { pool } = bench(t, { maxPerPrincipal: 1 });
  const owner = (id: string, sandboxes?: number): Key => ({
    principal: { id: 'bob', ...(sandboxes !== undefined && { sandboxes }) },
    scope: { kind: 'conversation', id },
  });
  await pool.acquire(owner('a', 2));
  await pool.acquire(owner('b', 2));
  await assert.rejects(pool.acquire(owner('c', 2)), { code: 'busy' });
  await pool.acquire(owner('c', 0));
  await pool.acquire(chat('a'));
  await assert.rejects(pool.acquire(chat('b')), { code: 'busy' });
});

test('what a temporary chat leaves is removed when it has been idle for as long again; a saved chat’s stays', async (t) => {
  const { pool, engine, state } = bench(t, { idleTimeout: 0.3 });
  for (const id of ['temporary:x', 'local:x', 'saved']) await (await pool.acquire(chat(id)))[Symbol.asyncDispose]();
  const held = await pool.acquire(chat('temporary:held'));
  await sleep(400);
  await pool.sweep();
  assert.equal(engine.stopped.length, 3);
  assert.deepEqual(engine.volumesRemoved, []);
  await sleep(400);
  await pool.sweep();
  assert.equal(engine.volumesRemoved.length, 2);
  assert.deepEqual(
    state.of('alice').map((row) => row.scopeId),
    ['saved', 'temporary:held'],
  );
  await held[Symbol.asyncDispose]();
});

for (const [direction, step] of [
  ['forward', 3_600_000],
  ['back', -3_600_000],
] as const)
  test(`a wall clock set ${direction} by an hour makes nothing expire, and what follows expires in its time`, async (t) => {
    const { pool, engine, state } = bench(t, { idleTimeout: 600, retention: 1 / 48 });
    const alice = { id: 'alice' };
    for (const id of ['temporary:x', 'saved']) {
      await (await pool.acquire(chat(id)))[Symbol.asyncDispose]();
      await pool.end(chat(id), { keepWorkspace: true });
    }
    const { sandbox } = await pool.create(alice, { ttl: 1200 });
    state.saveSession({ id: 'session', principal: 'alice', initialize: '{}' });
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() + step });
    const later = await pool.create(alice, { ttl: 1200 });
    await pool.sweep();
    state.dropSessionsUnusedFor(600_000);
    assert.deepEqual(engine.volumesRemoved, []);
    assert.equal(state.count(), 4);
    assert.equal(state.session('session', 'alice'), '{}');
    const expires = [sandbox, later.sandbox].map((handle) => state.get(handle)!.expires! - Date.now());
    for (const left of expires) assert.ok(Math.abs(left - 1_200_000) < 10_000, String(left));
  });

test('ten thousand known sandboxes cost no memory but while they are awake', async (t) => {
  const { pool, engine, state } = bench(t);
  engine.delay = 0;
  const use = async (from: number, to: number) => {
    for (let at = from; at < to; at += 1) {
      await (await pool.acquire(chat(`chat ${at}`, `user ${at}`)))[Symbol.asyncDispose]();
      await pool.end(chat(`chat ${at}`, `user ${at}`), { keepWorkspace: true });
    }
    engine.forget();
  };
  await use(0, 500);
  const before = await heldBytes();
  await use(500, 10_000);
  await pool.sweep();
  const grown = (await heldBytes()) - before;
  assert.equal(state.count(), 10_000);
  assert.ok(grown < 4 * 1024 ** 2, `${grown} bytes`);
});

/** Bytes of the heap that something still refers to. */
async function heldBytes(): Promise<number> {
  setFlagsFromString('--expose-gc');
  for (let round = 0; round < 3; round += 1) {
    await sleep(10);
    (runInNewContext('gc') as () => void)();
  }
  return process.memoryUsage().heapUsed;
}

test('an engine that cannot remove a sandbox’s container leaves the sandbox as it was', async (t) => {
  const { pool, engine, state } = bench(t, { idleTimeout: 0 });
  const { handle } = (await pool.acquire(chat('a'))).workspace;
  engine.refusal = new AppError('engine_unavailable', 'The container engine does not answer.');
  await assert.rejects(pool.end(chat('a')), { code: 'engine_unavailable' });
  assert.equal((await pool.acquire(chat('a'))).workspace.handle, handle);
  assert.deepEqual([engine.opened.length, state.get(handle)?.state], [1, 'live']);
  engine.refusal = undefined;
  await pool.end(chat('a'));
  assert.deepEqual([engine.removed, engine.volumesRemoved.length, state.get(handle)], [[handle], 1, undefined]);
});
