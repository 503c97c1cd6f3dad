import { abortable, type Engine } from './client.ts';
import { imageFacts, type ImageFacts } from './image.ts';

/** Milliseconds for which an answer is good. */
const age = 5000;

/** What image names stand for, asked again when the answer is old. */
export class Revisions {
  readonly #engine: Engine;
  /** The image whose part every container has. */
  readonly #common: string;
  readonly #known = new Map<string, { readonly at: number; readonly facts: Promise<ImageFacts> }>();

  constructor(engine: Engine, common: string) {
    this.#engine = engine;
    this.#common = common;
  }

  async of(image: string): Promise<string> {
    const both = await Promise.all([this.facts(image), this.facts(this.#common)]);
    return both.map(({ id }) => id).join(' ');
  }

  facts(image: string): Promise<ImageFacts> {
    const known = this.#known.get(image);
    if (known && performance.now() - known.at < age) return known.facts;
    const facts = this.#ask(image);
    this.#known.set(image, { at: performance.now(), facts });
    facts.catch(() => this.#known.delete(image));
    return facts;
  }

  async #ask(image: string): Promise<ImageFacts> {
    const named = this.#engine.docker.getImage(image);
    const attempt = { doing: 'look at an image', image };
    return imageFacts(await this.#engine.call(attempt, (abortSignal) => named.inspect(abortable({}, abortSignal))));
  }
}
