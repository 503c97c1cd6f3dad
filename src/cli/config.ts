import type { LoadedConfig, Source } from '../config.ts';
import { type Invocation, settings } from './invocation.ts';

/** Prints the settings in force, each with its source; nothing secret. */
export async function showConfig(invocation: Invocation): Promise<number> {
  const loaded = settings(invocation);
  const rows = describe(loaded);
  const text = invocation.flags['json'] ? JSON.stringify(Object.fromEntries(rows.map(asEntry)), null, 2) : table(rows);
  invocation.out.write(`${text}\n`);
  for (const note of loaded.notes) invocation.err.write(`${note}\n`);
  return 0;
}

interface Row {
  readonly key: string;
  readonly value: unknown;
  readonly source: string;
}

function describe({ config, sources }: LoadedConfig): readonly Row[] {
  return flatten([], config).map(([path, value]) => {
    const key = path.join('.');
    return { key, value: isSecret(path) ? '[redacted]' : value, source: sourceName(sources.get(key)) };
  });
}

function flatten(path: readonly string[], value: unknown): readonly (readonly [readonly string[], unknown])[] {
  if (value === undefined) return [];
  if (typeof value !== 'object' || value === null || Array.isArray(value) || path.at(-1) === 'env')
    return [[path, value]];
  return Object.entries(value).flatMap(([name, inner]) => flatten([...path, name], inner));
}

/** Keys' hashes and the variables of templates, where passwords stand, are for nobody's screen. */
function isSecret(path: readonly string[]): boolean {
  return path.join('.') === 'auth.keys' || (path[0] === 'templates' && path[2] === 'env');
}

function sourceName(source: Source | undefined): string {
  return !source || source.kind === 'default' ? 'default' : source.name;
}

function asEntry({ key, value, source }: Row): [string, { value: unknown; source: string }] {
  return [key, { value, source }];
}

function table(rows: readonly Row[]): string {
  const shown = rows.map(({ key, value, source }) => [key, show(value), source] as const);
  const widest = (column: 0 | 1) => Math.min(60, Math.max(...shown.map((row) => row[column].length)));
  const [keys, values] = [widest(0), widest(1)];
  return shown.map(([key, value, source]) => `${key.padEnd(keys)}  ${value.padEnd(values)}  ${source}`).join('\n');
}

function show(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
