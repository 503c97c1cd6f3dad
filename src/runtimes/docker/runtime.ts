import type { Logger } from '../../log.ts';
import { AppError } from '../../errors.ts';
import type {
  Container,
  ContainerRecord,
  ContainerSpec,
  DiskQuota,
  EngineInfo,
  Runtime,
  RuntimeEvent,
  Trial,
} from '../../sandbox/ports/runtime.ts';
import { type EngineAddress, findEngine } from './address.ts';
import { cancelled, Engine } from './client.ts';
import { EngineContainer } from './container.ts';
import { createContainer, removeContainer } from './containers.ts';
import { statusOf } from './errors.ts';
import { Events, eventQueue } from './events.ts';
import { Gate, Turns } from './gate.ts';
import { checkLabels, type ImageFacts } from './image.ts';
import { OpenNetwork } from './open-network.ts';
import { Processes } from './processes.ts';
import type { QuotaOptions } from './quota/choose.ts';
import { reap } from './reaper.ts';
import { Revisions } from './revisions.ts';
import { createBody, labels, paths } from './spec.ts';
import { runToEnd, trialBody } from './trial.ts';
import { Volumes } from './volumes.ts';
import { detached } from '../../lib/detached.ts';

export interface DockerOptions {
  /** This installation's id: every container and volume it makes carries it in the label `berth.instance`. */
  readonly instance: string;
  /** The image with the session host. */
  readonly hostImage: string;
  /** Seconds without a client after which a sandbox's session host ends. */
  readonly orphanAfter: number;
  readonly maxParallelStarts?: number;
  /** Seconds an engine call may take. */
  readonly callTimeout?: number;
  /** Seconds after its end, or its creation where it never started, until a leftover may be reaped. */
  readonly leftoverAge?: number;
  /** The engine's address; absent, it is looked for as the docker command does. */
  readonly host?: string;
  /** How workspaces are bounded; absent: not at all. */
  readonly quota?: QuotaOptions;
  /** Where `DOCKER_HOST` and its kin are looked up. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Logger;
}

/** The Docker side of the port. Connects at the first call; throws `engine_unavailable` for an address that makes no sense. */
export function dockerRuntime(options: DockerOptions): Runtime {
  const address = findEngine(options.env, options.host);
  if (!isPrivate(address)) options.log.warn({ event: 'engine.unprotected', address: address.url });
  return new DockerRuntime(options, new Engine(address, options.callTimeout ?? 30));
}

/** False for TCP to another machine without both sides' certificates: whoever reaches the port is root there. */
function isPrivate({ socketPath, host = '', tls }: EngineAddress): boolean {
  const loopback = /^(localhost|127\.[\d.]+|\[::1\])$/.test(host);
  return socketPath !== undefined || loopback || Boolean(tls?.verify && tls.cert);
}

class DockerRuntime implements Runtime {
  readonly #options: DockerOptions;
  readonly #engine: Engine;
  readonly #events: Events;
  readonly #processes: Processes;
  readonly #volumes: Volumes;
  readonly #openNetwork: OpenNetwork;
  readonly #revisions: Revisions;
  readonly #starts: Gate;
  readonly #turns = new Turns();
  /** Ids of images whose volumes the log has named. */
  readonly #told = new Set<string>();
  /** Opens that go on, among them those whose caller has given up; never rejecting. */
  readonly #opening = new Set<Promise<unknown>>();

  constructor(options: DockerOptions, engine: Engine) {
    this.#options = options;
    this.#engine = engine;
    this.#events = new Events(engine, options);
    this.#processes = new Processes(engine, this.#events);
    this.#volumes = new Volumes(engine, options);
    this.#openNetwork = new OpenNetwork(engine, options);
    this.#revisions = new Revisions(engine, options.hostImage);
    this.#starts = new Gate(options.maxParallelStarts ?? 8);
  }

  async engine(signal?: AbortSignal): Promise<EngineInfo> {
    const { docker } = this.#engine;
    const describe = docker.info.bind(docker) as (options: object) => Promise<EngineDescription>;
    const attempt = { doing: 'describe itself' };
    const info = await this.#engine.call(attempt, (abortSignal) => describe({ abortSignal }), signal);
    return {
      name: 'Docker',
      version: info.ServerVersion,
      os: info.OperatingSystem,
      arch: info.Architecture,
      cgroup: `v${info.CgroupVersion ?? 1}`,
      runtimes: Object.keys(info.Runtimes ?? {}),
      storage: info.Driver,
      ...(info.MemTotal && { memory: info.MemTotal }),
    };
  }

  /** What an aborted caller leaves behind is removed in the background, and a later open of the name waits for that. */
  open(spec: ContainerSpec, signal?: AbortSignal): Promise<Container> {
    const opening = new Opening(signal);
    const work = this.#openInTurn(spec, opening);
    const settled = Promise.allSettled([work]).then(() => opening[Symbol.dispose]());
    this.#opening.add(settled);
    detached(settled.then(() => this.#opening.delete(settled)));
    return Promise.race([work, opening.aborted]);
  }

  async list(signal?: AbortSignal): Promise<readonly ContainerRecord[]> {
    const filters = { label: [`${labels.instance}=${this.#options.instance}`] };
    const found = await this.#engine.call(
      { doing: 'list sandboxes' },
      (abortSignal) => this.#engine.docker.listContainers({ all: true, filters, abortSignal }),
      signal,
    );
    return found.filter(({ Labels }) => !(labels.filler in Labels)).map(recordOf);
  }

  async find(name: string): Promise<ContainerRecord | undefined> {
    const found = await this.#inspect(name).catch(unlessMissing);
    if (found?.Config.Labels[labels.instance] !== this.#options.instance) return undefined;
    const state = found.State.Status as ContainerRecord['state'];
    return { id: found.Id, name, labels: found.Config.Labels, state, created: Date.parse(found.Created) / 1000 };
  }

  revision(image: string): Promise<string> {
    return this.#revisions.of(image);
  }

  container({ id, name }: ContainerRecord): Container {
    return new EngineContainer(this.#engine, this.#processes, { id, name });
  }

  async reap(known: ReadonlySet<string>, signal?: AbortSignal): Promise<readonly string[]> {
    const { instance, log, leftoverAge = 600 } = this.#options;
    const inUse = (name: string) => known.has(name) || this.#turns.has(name);
    const reaped = await reap(this.#engine, { instance, log, inUse, age: leftoverAge }, signal);
    await this.#volumes.dropOldHosts(leftoverAge, signal);
    return reaped;
  }

  volumes(signal?: AbortSignal): Promise<readonly string[]> {
    return this.#volumes.list(signal);
  }

  removeVolume(name: string): Promise<void> {
    return this.#volumes.remove(name);
  }

  quota(): Promise<DiskQuota> {
    return this.#volumes.quota();
  }

  trial(trial: Trial): Promise<number> {
    return runToEnd(this.#engine, trialBody(trial, this.#options));
  }

  volumeSizes(signal?: AbortSignal): Promise<ReadonlyMap<string, number>> {
    return this.#volumes.sizes(signal);
  }

  events(signal: AbortSignal): AsyncIterable<RuntimeEvent> {
    return eventQueue(this.#events, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#processes[Symbol.dispose]();
    this.#events[Symbol.dispose]();
    await Promise.all(this.#opening);
    this.#openNetwork[Symbol.dispose]();
    this.#engine[Symbol.dispose]();
  }

  async #openInTurn(spec: ContainerSpec, opening: Opening): Promise<Container> {
    using _turn = await this.#turns.take(spec.name, opening.signal);
    using _place = await this.#starts.enter(opening.signal);
    await using undo = new AsyncDisposableStack();
    const made = await this.#started(spec, opening, undo);
    opening.finish();
    undo.move();
    return new EngineContainer(this.#engine, this.#processes, { ...made, name: spec.name });
  }

  /**
   * A container that was there already and that the engine does not start gives way to a new one: an engine that was ended
   * in the middle of its first start never starts it (“task already exists”).
   */
  async #started(spec: ContainerSpec, opening: Opening, undo: AsyncDisposableStack): Promise<Made> {
    const { id, found, emptied } = await this.#create(spec, opening, undo);
    try {
      await this.#startOver(spec.volume.name, id);
      return { id, emptied };
    } catch (error) {
      if (!found || statusOf(error) !== 500) throw error;
      this.#options.log.warn({ event: 'sandbox.start_refused', container: spec.name, err: error });
    }
    await removeContainer(this.#engine, id);
    const again = await this.#create(spec, opening, undo);
    await this.#startOver(spec.volume.name, again.id);
    return { id: again.id, emptied: emptied || again.emptied };
  }

  /** `found`: it was there. */
  async #create(spec: ContainerSpec, opening: Opening, undo: AsyncDisposableStack): Promise<Made & { found: boolean }> {
    const facts = await this.#revisions.facts(spec.image);
    checkLabels(spec.image, facts);
    this.#tellVolumes(spec.image, facts);
    const [hostVolume, fresh] = await Promise.all([this.#volumes.host(), this.#volumes.workspace(spec.volume)]);
    if (fresh) undo.defer(() => this.#tidy(this.#volumes.remove(spec.volume.name)));
    const emptied = fresh || (await this.#volumes.quota()).kind === 'tmpfs';
    if (spec.network === 'open') await this.#openNetwork.ready();
    opening.check();
    const create = async () => {
      const body = createBody(spec, { hostVolume, imageVolumes: facts.volumes, ...this.#options });
      const id = await createContainer(this.#engine, body, { name: spec.name });
      undo.defer(() => this.#tidy(removeContainer(this.#engine, id)));
      opening.check();
      return id;
    };
    try {
      return { id: await create(), found: false, emptied };
    } catch (error) {
      if (statusOf(error) !== 409) throw error;
      const id = await this.#adopt(spec);
      return { id: id ?? (await create()), found: id !== undefined, emptied };
    }
  }

  /** Once for each version of an image: a program may count on writing there. */
  #tellVolumes(image: string, { id, volumes }: ImageFacts): void {
    if (volumes.length === 0 || this.#told.has(id)) return;
    this.#told.add(id);
    const why =
      'VOLUMEs of this image are empty in sandboxes, in memory, gone at their end, and together as big as /tmp; only /workspace is kept';
    this.#options.log.warn({ event: 'image.volumes', image, volumes }, why);
  }

  /** What cannot be removed after a failure is left to the reaper; the failure itself is what the caller hears of. */
  #tidy(removal: Promise<void>): Promise<void> {
    return removal.catch((err) => this.#options.log.warn({ event: 'sandbox.leftover', err }));
  }

  /** The id of the container that has the name already, if it is ours; one that has stopped and is outdated goes. */
  async #adopt({ name, labels: wanted }: ContainerSpec): Promise<string | undefined> {
    const { Id, Config, State } = await this.#inspect(name);
    if (Config.Labels[labels.instance] !== this.#options.instance)
      throw new AppError('conflict', `The name ${name} belongs to a container that is not Berth's.`);
    if (State.Paused) await new EngineContainer(this.#engine, this.#processes, { id: Id, name }).resume();
    if (State.Running || Config.Labels[labels.spec] === wanted[labels.spec]) return Id;
    await removeContainer(this.#engine, Id);
    return undefined;
  }

  #inspect(name: string) {
    const container = this.#engine.docker.getContainer(name);
    return this.#engine.call({ doing: 'look at a sandbox', missing: 'container' }, (abortSignal) =>
      container.inspect({ abortSignal }),
    );
  }

  async #startOver(volume: string, id: string): Promise<void> {
    await using _ground = await this.#volumes.hold(volume);
    await this.#start(id);
  }

  async #start(id: string): Promise<void> {
    try {
      await this.#engine.call({ doing: 'start a sandbox', missing: 'container' }, (abortSignal) =>
        this.#engine.docker.getContainer(id).start({ abortSignal }),
      );
    } catch (error) {
      if (statusOf(error) !== 304) throw error;
    }
  }
}

/** A container's id, and whether its workspace was made with it. */
interface Made {
  readonly id: string;
  readonly emptied: boolean;
}

/** One open's caller, who may give up until the moment it is finished and not after. */
class Opening implements Disposable {
  readonly signal: AbortSignal | undefined;
  readonly aborted: Promise<never>;
  readonly #settled = new AbortController();
  #finished = false;

  constructor(signal: AbortSignal | undefined) {
    this.signal = signal;
    const { promise, reject } = Promise.withResolvers<never>();
    this.aborted = promise;
    promise.catch(() => {});
    const abort = () => this.#finished || reject(cancelled(signal!));
    signal?.addEventListener('abort', abort, { once: true, signal: this.#settled.signal });
  }

  /** Throws when the caller has given up. */
  check(): void {
    if (this.signal?.aborted) throw cancelled(this.signal);
  }

  finish(): void {
    this.check();
    this.#finished = true;
  }

  [Symbol.dispose](): void {
    this.#settled.abort();
  }
}

/** The part of `GET /info` that is used here. */
interface EngineDescription {
  readonly ServerVersion: string;
  readonly OperatingSystem: string;
  readonly Architecture: string;
  readonly CgroupVersion?: string;
  readonly Runtimes?: Readonly<Record<string, unknown>>;
  readonly Driver: string;
  readonly MemTotal?: number;
}

function recordOf(info: {
  Id: string;
  Names: string[];
  Labels: Record<string, string>;
  State: string;
  Created: number;
  Mounts?: { Destination: string; Name?: string | undefined }[];
}): ContainerRecord {
  const workspace = info.Mounts?.find(({ Destination }) => Destination === paths.workspace)?.Name;
  return {
    id: info.Id,
    name: (info.Names[0] ?? '').replace(/^\//, ''),
    labels: info.Labels,
    state: info.State as ContainerRecord['state'],
    created: info.Created,
    ...(workspace !== undefined && { workspace }),
  };
}

function unlessMissing(error: unknown): undefined {
  if (statusOf(error) !== 404) throw error;
}
