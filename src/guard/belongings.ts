import { z } from 'zod';
import { imageFacts } from '../runtimes/docker/image.ts';
import { labels } from '../runtimes/docker/spec.ts';
import type { EngineSocket } from './engine.ts';
import { isHostVolume, isOwnVolume } from './names.ts';
import { Refusal } from './refusal.ts';

const container = z.object({
  Id: z.string().regex(/^[0-9a-f]{64}$/),
  Config: z.object({ Labels: z.record(z.string(), z.string()).nullish() }),
  HostConfig: z.object({
    Privileged: z.boolean(),
    CapDrop: z.array(z.string()).nullish(),
    SecurityOpt: z.array(z.string()).nullish(),
  }),
});

const exec = z.object({
  ContainerID: z.string(),
  ProcessConfig: z.object({ privileged: z.boolean().nullish() }),
});

const volume = z.object({ Labels: z.record(z.string(), z.string()).nullish() });

const inspected = z.object({
  Id: z.string(),
  Config: z
    .object({
      Volumes: z.record(z.string(), z.unknown()).nullish(),
      Labels: z.record(z.string(), z.unknown()).nullish(),
    })
    .nullish(),
});

/** Containers remembered: what they are never changes, and no id comes again. */
const remembered = 10_000;

/** Tells what is Berth's on the engine from what is not, by the engine's own word. */
export class Belongings {
  readonly #engine: EngineSocket;
  /** By id: whether programs may run in it. */
  readonly #known = new Map<string, boolean>();

  constructor(engine: EngineSocket) {
    this.#engine = engine;
  }

  /** The id of one of Berth's containers. Throws a `Refusal`: 403 for another's, 404 for none. */
  async container(reference: string): Promise<string> {
    return this.#known.has(reference) ? reference : (await this.#look(reference)).id;
  }

  /** As `container`, for one that programs may run in: those that only fill volumes have no walls. */
  async runnable(reference: string): Promise<string> {
    const known = this.#known.get(reference);
    const { id, hardened } = known === undefined ? await this.#look(reference) : { id: reference, hardened: known };
    if (!hardened) throw new Refusal('Nothing may run in this container.');
    return id;
  }

  async exec(id: string): Promise<void> {
    const found = exec.safeParse(await this.#engine.ask(`/exec/${id}/json`));
    if (!found.success) throw new Refusal(`No such exec instance: ${id}`, 404);
    if (found.data.ProcessConfig.privileged) throw new Refusal('A privileged process is not let through.');
    await this.runnable(found.data.ContainerID);
  }

  /** Throws a `Refusal` where a volume is another's; one that is not there is nobody's. */
  async volume(name: string): Promise<void> {
    if (!isOwnVolume(name)) throw new Refusal("Only Berth's own volumes are let through.");
    if (isHostVolume(name)) return;
    const found = volume.safeParse(await this.#engine.ask(`/volumes/${name}`));
    if (found.success && !Object.hasOwn(found.data.Labels ?? {}, labels.instance))
      throw new Refusal("Only Berth's own volumes are let through.");
  }

  /** The `VOLUME`s that an image brings; none without an image. Throws a `Refusal` where its labels are as Berth's own. */
  async imageVolumes(image: string | undefined): Promise<readonly string[]> {
    const answer = image === undefined ? undefined : await this.#engine.ask(`/images/${image}/json`);
    if (answer === undefined) return [];
    const facts = imageFacts(inspected.parse(answer));
    if (facts.labels.some((name) => name.startsWith('berth.')))
      throw new Refusal("An image with labels like Berth's own is not let through.");
    return facts.volumes;
  }

  async #look(reference: string): Promise<{ id: string; hardened: boolean }> {
    const answer = await this.#engine.ask(`/containers/${reference}/json`);
    if (answer === undefined) throw new Refusal(`No such container: ${reference}`, 404);
    const { Id: id, Config, HostConfig } = container.parse(answer);
    if (!Object.hasOwn(Config.Labels ?? {}, labels.instance))
      throw new Refusal("Only Berth's own containers are let through.");
    const hardened = isHardened(HostConfig);
    this.#remember(id, hardened);
    return { id, hardened };
  }

  #remember(id: string, hardened: boolean): void {
    this.#known.set(id, hardened);
    const [oldest] = this.#known.keys();
    if (this.#known.size > remembered && oldest !== undefined) this.#known.delete(oldest);
  }
}

function isHardened({ Privileged, CapDrop, SecurityOpt }: z.infer<typeof container>['HostConfig']): boolean {
  return !Privileged && (CapDrop ?? []).includes('ALL') && (SecurityOpt ?? []).includes('no-new-privileges');
}
