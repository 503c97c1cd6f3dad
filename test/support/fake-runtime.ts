import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError } from '../../src/errors.ts';
import type {
  Container,
  ContainerRecord,
  ContainerSpec,
  ContainerState,
  DiskQuota,
  EngineInfo,
  ExecOptions,
  Process,
  Runtime,
  RuntimeEvent,
  Usage,
} from '../../src/sandbox/ports/runtime.ts';
import { FakeProcess } from './fake-process.ts';

export type Operation =
  | 'engine'
  | 'open'
  | 'list'
  | 'exec'
  | 'usage'
  | 'state'
  | 'pause'
  | 'resume'
  | 'stop'
  | 'find'
  | 'remove'
  | 'volumes'
  | 'removeVolume'
  | 'reap';

/** Called before each operation with the container's or volume's name; throwing fails it, a promise delays it. */
export type Fault = (operation: Operation, name: string) => void | Promise<void>;

/**
 * The port over child processes of this one, in temporary directories: for tests that need no isolation but faults.
 * Any image but `missing/…` exists. No terminals. `/workspace` is no real path: relative ones lead to the volume.
 */
export class FakeRuntime implements Runtime {
  readonly instance: string;
  /** Containers ever started and removed; a balanced test ends with both equal. */
  readonly ledger = { opened: 0, closed: 0 };
  fault: Fault = () => {};
  readonly #root = mkdtempSync(join(tmpdir(), 'berth-fake-'));
  readonly #containers = new Map<string, FakeContainer>();
  readonly #volumes = new Set<string>();
  readonly #listeners = new Set<(event: RuntimeEvent) => void>();
  readonly #opening = new Map<string, Promise<unknown>>();
  #next = 1;

  constructor(instance = 'fake') {
    this.instance = instance;
  }

  async engine(): Promise<EngineInfo> {
    await this.fault('engine', '');
    return { name: 'Fake', version: '1', os: 'test', arch: 'x86_64', cgroup: 'v2', runtimes: ['fake'], storage: 'tmp' };
  }

  async open(spec: ContainerSpec, signal?: AbortSignal): Promise<Container> {
    const turn = Promise.withResolvers<void>();
    const before = this.#opening.get(spec.name);
    this.#opening.set(spec.name, turn.promise);
    await before;
    try {
      return await this.#open(spec, signal);
    } finally {
      turn.resolve();
      if (this.#opening.get(spec.name) === turn.promise) this.#opening.delete(spec.name);
    }
  }

  async list(): Promise<readonly ContainerRecord[]> {
    await this.fault('list', '');
    return [...this.#containers.values()].map((container) => container.record);
  }

  async find(name: string): Promise<ContainerRecord | undefined> {
    await this.fault('find', name);
    return this.#named(name)?.record;
  }

  async revision(image: string): Promise<string> {
    return image;
  }

  async reap(): Promise<readonly string[]> {
    await this.fault('reap', '');
    return [];
  }

  container(record: ContainerRecord): Container {
    return this.#containers.get(record.id) ?? new FakeContainer(this, { ...record, state: 'removing' }, this.#root, {});
  }

  async volumes(): Promise<readonly string[]> {
    await this.fault('volumes', '');
    return [...this.#volumes];
  }

  async removeVolume(name: string): Promise<void> {
    await this.fault('removeVolume', name);
    if (!this.#volumes.delete(name)) return;
    rmSync(join(this.#root, name), { recursive: true, force: true });
  }

  async quota(): Promise<DiskQuota> {
    return { kind: 'none', bounded: false, detail: 'nothing' };
  }

  async trial(): Promise<number> {
    return 0;
  }

  async volumeSizes(): Promise<ReadonlyMap<string, number>> {
    return new Map([...this.#volumes].map((name) => [name, 0]));
  }

  events(signal: AbortSignal): AsyncIterable<RuntimeEvent> {
    const queue: RuntimeEvent[] = [];
    let wake = () => {};
    const listener = (event: RuntimeEvent) => (queue.push(event), wake());
    this.#listeners.add(listener);
    signal.addEventListener('abort', () => (this.#listeners.delete(listener), wake()), { once: true });
    return (async function* () {
      while (!signal.aborted) {
        const event = queue.shift();
        if (event) yield event;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    })();
  }

  /** As `docker kill`: the container dies with 137, its processes with it. */
  kill(id: string): void {
    this.#containers.get(id)?.die(137);
  }

  tell(event: RuntimeEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  /** Called by a container that was removed. */
  forget(id: string): void {
    if (!this.#containers.delete(id)) return;
    this.ledger.closed++;
    this.tell({ type: 'destroy', container: id });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.fault = () => {};
    for (const container of this.#containers.values()) await container.remove();
    rmSync(this.#root, { recursive: true, force: true });
  }

  async #open(spec: ContainerSpec, signal?: AbortSignal): Promise<Container> {
    checkAborted(signal);
    await this.fault('open', spec.name);
    checkAborted(signal);
    if (spec.image.startsWith('missing/'))
      throw new AppError('image_missing', `The image ${spec.image} is not on the container engine.`);
    const known = await this.#current(spec);
    known?.start();
    return known ?? this.#create(spec);
  }

  #named(name: string): FakeContainer | undefined {
    return [...this.#containers.values()].find((container) => container.name === name);
  }

  async #current(spec: ContainerSpec): Promise<FakeContainer | undefined> {
    const known = this.#named(spec.name);
    const same = known?.record.labels['berth.spec'] === spec.labels['berth.spec'];
    if (same || known?.record.state !== 'exited') return known;
    await known.remove();
    return undefined;
  }

  #create(spec: ContainerSpec): Container {
    const workspace = join(this.#root, spec.volume.name);
    mkdirSync(workspace, { recursive: true });
    this.#volumes.add(spec.volume.name);
    const record: ContainerRecord = {
      id: (this.#next++).toString(16).padStart(64, '0'),
      name: spec.name,
      labels: { ...spec.labels, 'berth.instance': this.instance },
      state: 'created',
      created: Math.floor(Date.now() / 1000),
    };
    const container = new FakeContainer(this, record, workspace, spec.env);
    this.#containers.set(record.id, container);
    container.start();
    this.ledger.opened++;
    return container;
  }
}

class FakeContainer implements Container {
  readonly id: string;
  readonly name: string;
  readonly #runtime: FakeRuntime;
  readonly #workspace: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #processes = new Set<FakeProcess>();
  #record: ContainerRecord;
  #exitCode = 0;

  constructor(runtime: FakeRuntime, record: ContainerRecord, workspace: string, env: Readonly<Record<string, string>>) {
    this.#runtime = runtime;
    this.#record = record;
    this.#workspace = workspace;
    this.#env = env;
    this.id = record.id;
    this.name = record.name;
  }

  get record(): ContainerRecord {
    return this.#record;
  }

  start(): void {
    this.#become('running');
  }

  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<Process> {
    checkAborted(options.signal);
    await this.#runtime.fault('exec', this.name);
    this.#mustRun();
    if (options.tty) throw new AppError('unsupported', 'The fake runtime has no terminals.');
    const base = { PATH: process.env['PATH'] ?? '', HOME: this.#workspace, LANG: 'C.UTF-8' };
    const started = new FakeProcess(argv, {
      cwd: this.#path(options.cwd ?? '/workspace'),
      env: { ...base, ...this.#env, ...options.env },
    });
    this.#processes.add(started);
    void started.gone.then(() => this.#processes.delete(started));
    const { signal } = options;
    const abort = () => started.fail(cancelled(signal!));
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort, { once: true });
    return started;
  }

  async usage(): Promise<Usage> {
    await this.#runtime.fault('usage', this.name);
    if (!(await this.state()).running) throw new AppError('sandbox_lost', 'The sandbox has stopped.');
    return { memory: 1024 ** 2, memoryLimit: 1024 ** 3, cpuSeconds: 0, pids: 1 + this.#processes.size, pidsLimit: 256 };
  }

  async state(): Promise<ContainerState> {
    await this.#runtime.fault('state', this.name);
    this.#mustExist();
    const paused = this.#record.state === 'paused';
    const running = paused || this.#record.state === 'running';
    return { running, paused, exitCode: running ? null : this.#exitCode, oomKilled: false };
  }

  async pause(): Promise<void> {
    await this.#runtime.fault('pause', this.name);
    this.#mustExist();
    this.#become('paused');
    for (const process of this.#processes) process.signal('SIGSTOP');
  }

  async resume(): Promise<void> {
    await this.#runtime.fault('resume', this.name);
    this.#mustExist();
    this.#become('running');
    for (const process of this.#processes) process.signal('SIGCONT');
  }

  async stop(): Promise<void> {
    await this.#runtime.fault('stop', this.name);
    this.#mustExist();
    this.die(137);
  }

  async remove(): Promise<void> {
    await this.#runtime.fault('remove', this.name);
    this.die(137);
    this.#become('removing');
    this.#runtime.forget(this.id);
  }

  die(exitCode: number): void {
    const running = this.#record.state === 'running' || this.#record.state === 'paused';
    if (!running) return;
    this.#become('exited');
    this.#exitCode = exitCode;
    for (const process of this.#processes) process.signal('SIGKILL');
    for (const process of this.#processes) process.fail(new AppError('sandbox_lost', 'The sandbox ended.'));
    this.#runtime.tell({ type: 'die', container: this.id, exitCode });
  }

  #become(state: ContainerRecord['state']): void {
    this.#record = { ...this.#record, state };
  }

  #mustExist(): void {
    if (this.#record.state === 'removing') throw new AppError('sandbox_lost', 'The sandbox is gone.');
  }

  #mustRun(): void {
    this.#mustExist();
    if (this.#record.state === 'paused') throw new AppError('busy', 'The sandbox is paused.');
    if (this.#record.state !== 'running') throw new AppError('sandbox_lost', 'The sandbox has stopped.');
  }

  #path(path: string): string {
    return path.startsWith('/workspace') ? join(this.#workspace, path.slice('/workspace'.length)) : path;
  }
}

function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelled(signal);
}

function cancelled(signal: AbortSignal): AppError {
  return new AppError('cancelled', 'The call was cancelled.', { cause: signal.reason });
}
