import { z } from 'zod';
import { labels } from '../runtimes/docker/spec.ts';
import { Refusal } from './refusal.ts';

export type Query = Readonly<Record<string, string>>;

/** What the client library leaves in queries and bodies of its own affairs. */
const noise = 'abortSignal';

/** The query of a request, each key once. Throws a `Refusal` for a key that is not expected. */
export function readQuery(text: string, expected: readonly string[]): Query {
  const found = new URLSearchParams(text);
  const names = [...found.keys()].filter((name) => name !== noise);
  if (new Set(names).size !== names.length) throw new Refusal('A key of the query came twice.');
  if (names.some((name) => !expected.includes(name))) throw new Refusal('The query has a key that Berth does not use.');
  return Object.fromEntries(names.map((name) => [name, found.get(name) ?? '']));
}

export function writeQuery(query: Query): string {
  const text = new URLSearchParams(query).toString();
  return text && `?${text}`;
}

/** A body without what the client library has left in it. */
export function withoutNoise(body: unknown): unknown {
  if (typeof body !== 'object' || body === null || !Object.hasOwn(body, noise)) return body;
  const { [noise]: _, ...rest } = body as Record<string, unknown>;
  return rest;
}

const words = z.array(z.string().max(300)).max(32);
const filters = z.strictObject({
  label: words.optional(),
  status: words.optional(),
  volume: words.optional(),
  dangling: words.optional(),
  type: words.optional(),
  event: words.optional(),
});

/** Filters of a list or of events that never show what is not Berth's. */
export function ownFilters(text: string | undefined): string {
  const asked = filters.safeParse(parse(text ?? '{}'));
  if (!asked.success) throw new Refusal('The filters are not of the kind that Berth uses.');
  const label = asked.data.label ?? [];
  const narrow = label.some((one) => [labels.instance, labels.host].includes(one.split('=')[0] as never));
  return JSON.stringify({ ...asked.data, label: narrow ? label : [...label, labels.instance] });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal('The filters are no JSON.', 400);
  }
}
