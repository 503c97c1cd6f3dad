import { abortable, type Engine } from './client.ts';

/** Milliseconds for which an answer is good. */
const age = 5000;

/** What image names stand for, asked again when the answer is old. */
export class Revisions {
  readonly #engine: Engine;
  /** The image whose part every container has. */
  readonly #common: string;
  readonly #known = new Map<string, { readonly at: number; readonly id: Promise<string> }>();

  constructor(engine: Engine, common: string) {
    this.#engine = engine;
    this.#common = common;
  }

  async of(image: string): Promise<string> {
    return (await Promise.all([this.#id(image), this.#id(this.#common)])).join(' ');
  }

  #id(image: string): Promise<string> {
    const known = this.#known.get(image);
    if (known && performance.now() - known.at < age) return known.id;
    const id = this.#ask(image);
    this.#known.set(image, { at: performance.now(), id });
    id.catch(() => this.#known.delete(image));
    return id;
  }

  async #ask(image: string): Promise<string> {
    const named = this.#engine.docker.getImage(image);
    const attempt = { doing: 'look at an image', image };
    return (await this.#engine.call(attempt, (abortSignal) => named.inspect(abortable({}, abortSignal)))).Id;
  }
}
