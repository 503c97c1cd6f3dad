import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Engine } from '../runtimes/docker/client.ts';
import { follow, imageId } from './engine-images.ts';
import { SetupError } from './error.ts';
import type { Progress } from './progress.ts';
import { packContext, readContext, recipeTag } from './recipe.ts';
import { ensureRootImage } from './root-image.ts';

const directory = join(import.meta.dirname, '..', '..', 'images');

/** One image of Berth's own, as it stands on the engine. */
interface Built {
  readonly id: string;
  readonly tag: string;
}

/**
 * Makes every image that the server needs and is not there, each under a tag of its content and under `latest`.
 * `anew` starts from a fresh base.
 */
export async function ensureImages(engine: Engine, progress: Progress, { anew = false } = {}): Promise<void> {
  const root = await ensureRootImage(engine, progress, anew);
  const builder = new Builder(engine, progress);
  const base = await builder.ensure('base', { id: root, tag: 'berth/root:latest' });
  await builder.ensure('data', base);
  await builder.ensure('session-host', { id: root, tag: 'berth/root:latest' });
}

class Builder {
  readonly #engine: Engine;
  readonly #progress: Progress;

  constructor(engine: Engine, progress: Progress) {
    this.#engine = engine;
    this.#progress = progress;
  }

  async ensure(name: string, base: Built): Promise<Built> {
    const context = join(directory, name);
    if (!existsSync(join(context, 'Dockerfile'))) throw new SetupError(`images/${name}/Dockerfile is missing.`);
    const files = readContext(context);
    const repo = `berth/${name}`;
    const tag = recipeTag(files, base.id);
    const known = await imageId(this.#engine, `${repo}:${tag}`);
    const id = known ?? (await this.#build(`${repo}:${tag}`, files, base));
    if ((await imageId(this.#engine, `${repo}:latest`)) !== id) {
      await this.#engine.docker.getImage(`${repo}:${tag}`).tag({ repo, tag: 'latest' });
    }
    if (!known) await this.#dropStale(repo, tag);
    return { id, tag: `${repo}:${tag}` };
  }

  /** The build shares the host's network: what reaches the package sources is known to be the host. */
  async #build(name: string, files: ReturnType<typeof readContext>, base: Built): Promise<string> {
    const options = { t: name, buildargs: { BASE: base.tag }, networkmode: 'host', rm: true, forcerm: true };
    return this.#progress.step(`Building ${name.split(':')[0]}`, async (step) => {
      const printed = await follow(step, (abortSignal) => {
        return this.#engine.docker.buildImage(packContext(files), { ...options, abortSignal });
      });
      const id = await imageId(this.#engine, name);
      if (!id) throw new SetupError(`The build of ${name} ended without an image.`);
      await this.#dropStages(printed);
      return id;
    });
  }

  /** Earlier stages of a build stay behind as images without a name: the last one before each later FROM. */
  async #dropStages(printed: readonly string[]): Promise<void> {
    const steps = printed.flatMap((text) => text.split('\n')).map((line) => line.trim());
    const starts = steps.flatMap((line, at) => (/^Step \d+\/\d+ : FROM /.test(line) ? [at] : []));
    for (const start of starts.slice(1)) {
      const made = steps.slice(0, start).findLast((line) => /^---> [0-9a-f]{12}$/.test(line));
      if (made) await this.#removeUnnamed(made.slice(5));
    }
  }

  async #removeUnnamed(id: string): Promise<void> {
    const image = this.#engine.docker.getImage(id);
    try {
      const { RepoTags } = await image.inspect();
      if (!RepoTags?.length) await image.remove();
    } catch {
      // It is in use, or gone: either is fine.
    }
  }

  /** Drops this image's tags of other contents that are a week old. Where one is in use, the engine refuses. */
  async #dropStale(repo: string, current: string): Promise<void> {
    const images = await this.#engine.docker.listImages({ filters: { reference: [`${repo}:*`] } });
    const weekAgo = Date.now() / 1000 - 7 * 86400;
    const stale = images
      .filter(({ Created }) => Created < weekAgo)
      .flatMap(({ RepoTags }) => RepoTags ?? [])
      .filter((tag) => /^[0-9a-f]{12}$/.test(tag.slice(repo.length + 1)) && tag !== `${repo}:${current}`);
    for (const tag of stale)
      await this.#engine.docker
        .getImage(tag)
        .remove()
        .catch(() => {});
  }
}
