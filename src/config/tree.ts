import { z } from 'zod';
import { schema, template } from './schema.ts';
import type { SettingMeta } from './values.ts';

/** A setting's place: `['server', 'port']`, `['templates', 'data', 'memory']`. */
export type Path = readonly string[];

export interface SettingRow extends SettingMeta {
  /** `server.port`; a template's settings as `templates.<name>.memory`. */
  readonly key: string;
}

/** Every setting in the order of the schema, those of templates once for each name. */
export function settingRows(templates: readonly string[] = ['<name>']): readonly SettingRow[] {
  return groupNames().flatMap((group) =>
    group === 'templates'
      ? templates.flatMap((name) => rowsOf(`templates.${name}`, template))
      : rowsOf(group, groupSchema(group)),
  );
}

function rowsOf(prefix: string, object: z.ZodObject): readonly SettingRow[] {
  return Object.entries(object.shape).map(([key, leaf]) => ({ key: `${prefix}.${key}`, ...metaOf(leaf) }));
}

function metaOf(leaf: unknown): SettingMeta {
  return z.globalRegistry.get(leaf as z.ZodType) as unknown as SettingMeta;
}

export function groupNames(): readonly string[] {
  return Object.keys(schema.shape);
}

function groupSchema(group: string): z.ZodObject {
  const found = schema.shape[group as keyof typeof schema.shape] as unknown as z.ZodPrefault<z.ZodObject>;
  return found.unwrap();
}

/** The setting's row, or `undefined` where there is no such setting. */
export function rowAt(path: Path): SettingRow | undefined {
  const key = path[0] === 'templates' ? ['templates', '<name>', ...path.slice(2)].join('.') : path.join('.');
  return byKey.get(key);
}

const byKey = new Map(settingRows().map((row) => [row.key, row]));

/** The known key nearest to an unknown one, when it is near enough to be meant. */
export function nearestKey(path: Path): string | undefined {
  const wanted = path.join('.');
  if (path.length === 1)
    return [...byKey.keys()].find((key) => key.endsWith(`.${wanted}`) || key.replaceAll('.', '_') === wanted);
  const fill = path[0] === 'templates' && path[1] !== undefined ? path[1] : '<name>';
  const near = [...byKey.keys()]
    .map((key) => key.replace('<name>', fill))
    .map((key) => ({ key, distance: editDistance(wanted, key) }))
    .toSorted((a, b) => a.distance - b.distance)[0];
  return near && near.distance <= 3 ? near.key : undefined;
}

function editDistance(from: string, to: string): number {
  if (Math.abs(from.length - to.length) > 3) return 4;
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...from].entries()) {
    const next = [i + 1];
    for (let j = 1; j <= to.length; j += 1) {
      const swap = (row[j - 1] ?? 0) + (letter === to[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
