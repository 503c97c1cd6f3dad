import { posix } from 'node:path';
import { AppError } from '../../errors.ts';

/** What an image brings that the body of a create does not replace. */
export interface ImageFacts {
  readonly id: string;
  /** Its `VOLUME`s, normal paths, sorted. */
  readonly volumes: readonly string[];
  /** The names of its labels: a container has them all, where its own do not replace them. */
  readonly labels: readonly string[];
}

interface InspectedImage {
  readonly Id: string;
  readonly Config?:
    { readonly Volumes?: object | null | undefined; readonly Labels?: object | null | undefined } | null | undefined;
}

export function imageFacts({ Id, Config }: InspectedImage): ImageFacts {
  const paths = Object.keys(Config?.Volumes ?? {}).map((path) => posix.join('/', path).replace(/(.)\/$/, '$1'));
  return { id: Id, volumes: [...new Set(paths)].toSorted(), labels: Object.keys(Config?.Labels ?? {}) };
}

/** Throws `unsupported` for an image whose labels would make its containers look like something else of Berth's. */
export function checkLabels(image: string, { labels }: ImageFacts): void {
  const own = labels.find((name) => name.startsWith('berth.'));
  if (own === undefined) return;
  throw new AppError(
    'unsupported',
    `The image ${image} has the label ${JSON.stringify(own.slice(0, 100))}, and labels that begin with "berth." belong to Berth alone; the operator must build the image without it.`,
  );
}
