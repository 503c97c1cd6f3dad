import type Docker from 'dockerode';
import { abortable, type Engine } from './client.ts';
import { createContainer, removeContainer } from './containers.ts';
import { statusOf } from './errors.ts';
import { chooseQuota, describeQuota, type QuotaOptions } from './quota/choose.ts';
import { noQuota, type Quota } from './quota/quota.ts';
import { volumeSizes } from './quota/sizes.ts';
import { checkReserve } from './quota/reserve.ts';
import { createVolume, removeVolume } from './volume.ts';
import type { DiskQuota } from '../../sandbox/ports/runtime.ts';
import type { Logger } from '../../log.ts';
import { type FilledVolume, fillerBody, labels, paths } from './spec.ts';

export interface VolumesOptions {
  readonly instance: string;
  readonly hostImage: string;
  readonly log: Logger;
  /** Absent: workspaces are not bounded. */
  readonly quota?: QuotaOptions;
}

/** The volumes of one instance, and the one with the session host that all instances share. */
export class Volumes {
  readonly #engine: Engine;
  readonly #instance: string;
  readonly #hostImage: string;
  readonly #options: VolumesOptions;
  #hostId: Promise<string> | undefined;
  #quota: Promise<Quota> | undefined;
  readonly #filling = new Map<string, Promise<void>>();

  constructor(engine: Engine, options: VolumesOptions) {
    this.#engine = engine;
    this.#options = options;
    this.#instance = options.instance;
    this.#hostImage = options.hostImage;
  }

  /** The name of the volume with the session host. Rejects `image_missing`. */
  async host(): Promise<string> {
    const id = await this.#hostImageId();
    const name = `berth-session-host-${id.replace('sha256:', '').slice(0, 12)}`;
    const found = await this.#labels(name);
    if (found && labels.host in found) return name;
    // Without the label, the engine made it by itself for a sandbox that came in between, and it is empty.
    if (found) await removeVolume(this.#engine, name);
    await this.#fill({ name, target: paths.tools, labels: { [labels.host]: id } });
    return name;
  }

  /** Removes the session hosts of other image versions that no container uses, older than `age` seconds. */
  async dropOldHosts(age: number, signal?: AbortSignal): Promise<void> {
    const own = await this.#hostImageId();
    const filters = { label: [labels.host], dangling: ['true'] };
    const { Volumes: unused } = await this.#engine.call(
      { doing: 'list volumes' },
      (abortSignal) => this.#engine.docker.listVolumes({ filters, abortSignal }),
      signal,
    );
    const oldest = Date.now() - age * 1000;
    for (const volume of (unused ?? []) as (Docker.VolumeInspectInfo & { CreatedAt?: string })[])
      if (volume.Labels[labels.host] !== own && Date.parse(volume.CreatedAt ?? '') <= oldest)
        await this.#removeUnused(volume.Name);
  }

  async #removeUnused(name: string): Promise<void> {
    try {
      await removeVolume(this.#engine, name);
    } catch (error) {
      // A sandbox has come in between.
      if (statusOf(error) !== 409) throw error;
    }
  }

  /** How workspaces are bounded; asked once, and again after a failure. */
  async quota(): Promise<DiskQuota> {
    return describeQuota(await this.#chosen());
  }

  /** Makes a workspace volume, owned by user 1000 whatever image will use it. True when it was not there before. */
  async workspace(volume: { name: string; labels: Readonly<Record<string, string>>; size?: number }): Promise<boolean> {
    const quota = await this.#chosen();
    await checkReserve(this.#engine, this.#options.quota);
    const found = await this.#labels(volume.name);
    if (found && !(labels.bare in found)) return false;
    if (found) await this.#discard(volume.name);
    const own = { ...volume.labels, [labels.instance]: this.#instance };
    const bounded = volume.size !== undefined;
    await using undo = new AsyncDisposableStack();
    const prepared = await quota.prepare(volume);
    if (prepared) undo.defer(() => quota.drop(volume.name));
    if (bounded) await createVolume(this.#engine, { name: volume.name, labels: own, options: quota.options(volume) });
    if (!bounded || !quota.owned) await this.#fill({ name: volume.name, target: paths.workspace, labels: own });
    undo.move();
    return prepared || quota.kind !== 'loop';
  }

  /** Keeps what the volume stands on in place while a container with it starts. */
  async hold(name: string): Promise<AsyncDisposable> {
    return await (await this.#chosen()).hold(name);
  }

  async list(signal?: AbortSignal): Promise<string[]> {
    const filters = { label: [`${labels.instance}=${this.#instance}`] };
    const found = await this.#engine.call(
      { doing: 'list volumes' },
      (abortSignal) => this.#engine.docker.listVolumes({ filters, abortSignal }),
      signal,
    );
    const prepared = await (await this.#chosen()).list();
    return [...new Set([...(found.Volumes ?? []).map(({ Name }) => Name), ...prepared])];
  }

  /** Bytes that each workspace takes. */
  async sizes(signal?: AbortSignal): Promise<ReadonlyMap<string, number>> {
    const quota = await this.#chosen();
    return quota.sizes ? await quota.sizes() : await volumeSizes(this.#engine, this.#instance, signal);
  }

  async remove(name: string): Promise<void> {
    await removeVolume(this.#engine, name);
    await (await this.#chosen()).drop(name);
  }

  #chosen(): Promise<Quota> {
    const { quota } = this.#options;
    if (!quota) return Promise.resolve(noQuota);
    const chosen = (this.#quota ??= chooseQuota(this.#engine, { ...this.#options, quota }));
    chosen.catch(() => {
      if (this.#quota === chosen) this.#quota = undefined;
    });
    return chosen;
  }

  /** A volume's labels; `undefined` when there is no such volume. */
  async #labels(name: string): Promise<Readonly<Record<string, string>> | undefined> {
    try {
      const found = await this.#engine.call({ doing: 'look at a volume' }, (abortSignal) =>
        this.#engine.docker.getVolume(name).inspect({ abortSignal }),
      );
      return found.Labels ?? {};
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw error;
    }
  }

  /** Removes a bare volume with the sandbox that it came with, which nobody has entered. */
  async #discard(name: string): Promise<void> {
    const filters = { volume: [name], label: [`${labels.instance}=${this.#instance}`], status: ['created'] };
    const holders = await this.#engine.call({ doing: 'list sandboxes' }, (abortSignal) =>
      this.#engine.docker.listContainers({ all: true, filters, abortSignal }),
    );
    for (const { Id } of holders) await removeContainer(this.#engine, Id);
    await removeVolume(this.#engine, name);
  }

  #hostImageId(): Promise<string> {
    const asked = (this.#hostId ??= this.#inspectHostImage());
    asked.catch(() => {
      if (this.#hostId === asked) this.#hostId = undefined;
    });
    return asked;
  }

  async #inspectHostImage(): Promise<string> {
    const image = this.#engine.docker.getImage(this.#hostImage);
    const attempt = { doing: 'look at an image', image: this.#hostImage };
    return (await this.#engine.call(attempt, (abortSignal) => image.inspect(abortable({}, abortSignal)))).Id;
  }

  #fill(volume: FilledVolume): Promise<void> {
    const running = this.#filling.get(volume.name);
    if (running) return running;
    const filled = this.#fillOnce(volume).finally(() => this.#filling.delete(volume.name));
    this.#filling.set(volume.name, filled);
    return filled;
  }

  async #fillOnce(volume: FilledVolume): Promise<void> {
    const id = await createContainer(this.#engine, fillerBody(volume, this.#hostImage, this.#instance));
    await removeContainer(this.#engine, id);
  }
}
