import { abortable, type Engine } from './client.ts';
import { createContainer, removeContainer } from './containers.ts';
import { statusOf } from './errors.ts';
import { type FilledVolume, fillerBody, labels, paths } from './spec.ts';

/** The volumes of one instance, and the one with the session host that all instances share. */
export class Volumes {
  readonly #engine: Engine;
  readonly #instance: string;
  readonly #hostImage: string;
  #hostId: Promise<string> | undefined;
  readonly #filling = new Map<string, Promise<void>>();

  constructor(engine: Engine, options: { instance: string; hostImage: string }) {
    this.#engine = engine;
    this.#instance = options.instance;
    this.#hostImage = options.hostImage;
  }

  /** The name of the volume with the session host. Rejects `image_missing`. */
  async host(): Promise<string> {
    const id = await this.#hostImageId();
    const name = `berth-session-host-${id.replace('sha256:', '').slice(0, 12)}`;
    if (!(await this.#exists(name))) await this.#fill({ name, target: paths.tools, labels: { [labels.host]: id } });
    return name;
  }

  /** Makes a workspace volume, owned by user 1000 whatever image will use it. True when it was not there before. */
  async workspace(volume: { name: string; labels: Readonly<Record<string, string>> }): Promise<boolean> {
    if (await this.#exists(volume.name)) return false;
    const own = { ...volume.labels, [labels.instance]: this.#instance };
    await this.#fill({ name: volume.name, target: paths.workspace, labels: own });
    return true;
  }

  async list(signal?: AbortSignal): Promise<string[]> {
    const filters = { label: [`${labels.instance}=${this.#instance}`] };
    const found = await this.#engine.call(
      { doing: 'list volumes' },
      (abortSignal) => this.#engine.docker.listVolumes({ filters, abortSignal }),
      signal,
    );
    return (found.Volumes ?? []).map(({ Name }) => Name);
  }

  async remove(name: string): Promise<void> {
    try {
      await this.#engine.call({ doing: 'remove a workspace' }, (abortSignal) =>
        this.#engine.docker.getVolume(name).remove(abortable({}, abortSignal)),
      );
    } catch (error) {
      if (statusOf(error) !== 404) throw error;
    }
  }

  async #exists(name: string): Promise<boolean> {
    try {
      await this.#engine.call({ doing: 'look at a volume' }, (abortSignal) =>
        this.#engine.docker.getVolume(name).inspect({ abortSignal }),
      );
      return true;
    } catch (error) {
      if (statusOf(error) === 404) return false;
      throw error;
    }
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
