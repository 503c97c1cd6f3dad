import { parseDocument } from 'yaml';
import { inertKeys } from './schema.ts';
import { groupNames, nearestKey, rowAt, type Path } from './tree.ts';
import { quote } from './values.ts';

/** Where a value came from. */
export interface Source {
  readonly kind: 'default' | 'file' | 'env' | 'flag';
  /** The variable, the flag, or the file's path; empty for a default. */
  readonly name: string;
}

/** The start cannot go on; the message is one line that names the setting, its source and what was expected. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** What a source says, by setting. A later layer's value replaces an earlier one's. */
export interface Entry {
  readonly path: Path;
  readonly value: unknown;
  readonly source: Source;
}

/** How a source calls a setting in an error line: the variable, the flag, or `file: server.port`. */
export function label(source: Source, key: string): string {
  if (source.kind === 'file') return `${source.name}: ${key}`;
  return source.kind === 'default' ? key : source.name;
}

const prefixes = ['MCP_SHELL_', 'BERTH_'] as const;

/** Variables that are no settings themselves: they point at files. */
export const fileVariables = { config: 'CONFIG_FILE', security: 'SECURITY_CONFIG_FILE' } as const;

export type Env = Readonly<Record<string, string | undefined>>;

/** A variable under either prefix, `BERTH_` before `MCP_SHELL_`. An empty one counts as absent. */
export function variable(env: Env, suffix: string): { name: string; value: string } | undefined {
  for (const prefix of prefixes.toReversed()) {
    const value = env[prefix + suffix];
    if (value) return { name: prefix + suffix, value };
  }
  return undefined;
}

/** The settings the environment names, `MCP_SHELL_` first so that `BERTH_` wins. */
export function entriesFromEnv(env: Env): readonly Entry[] {
  return prefixes.flatMap((prefix) =>
    Object.entries(env)
      .filter(([name, value]) => name.startsWith(prefix) && value)
      .flatMap(([name, value]) => entryFromVariable(name, name.slice(prefix.length), value ?? '')),
  );
}

function entryFromVariable(name: string, suffix: string, value: string): readonly Entry[] {
  if (Object.values<string>(fileVariables).includes(suffix) || isServiceLink(suffix, value)) return [];
  return entriesAt(suffix.toLowerCase().split('__'), value, { kind: 'env', name });
}

/** Variables that Kubernetes and Docker links set for a service called `berth`. */
function isServiceLink(suffix: string, value: string): boolean {
  return (
    /^(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP)|NAME$|ENV_)/.test(suffix) ||
    (suffix === 'PORT' && /^\w+:\/\//.test(value))
  );
}

export function entriesFromFile(path: string, text: string): readonly Entry[] {
  return entriesAt([], parseYaml(path, text), { kind: 'file', name: path });
}

function parseYaml(path: string, text: string): unknown {
  const document = parseDocument(text, { prettyErrors: true, logLevel: 'silent' });
  const [error] = document.errors;
  if (error) throw new ConfigError(`${path}: expected YAML, but ${firstLine(error.message)}`);
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw new ConfigError(`${path}: expected YAML, but ${firstLine(String((cause as Error).message))}`, { cause });
  }
}

function firstLine(message: string): string {
  const line = message.split('\n')[0] ?? '';
  return line
    .replace(/:$/, '')
    .replace(/[^\P{C}]/gu, '?')
    .slice(0, 200);
}

function entriesAt(path: Path, value: unknown, source: Source): readonly Entry[] {
  if (value === null || value === undefined || value === '') return [];
  if (rowAt(path)) return [{ path, value, source }];
  if (inertKeys.has(path.join('.'))) return [{ path, value, source }];
  if (isTemplateSwitch(path, value)) return [{ path, value: false, source }];
  if (!isGroup(path)) throw isShouted(path) ? shouted(path, source) : unknownKey(path, source);
  if (typeof value !== 'object' || Array.isArray(value)) throw noMapping(path, value, source);
  return Object.entries(value).flatMap(([key, inner]) => entriesAt([...path, key], inner, source));
}

const templateName = /^[a-z][a-z0-9_-]{0,39}$/;

/** `templates.base: false` takes a built-in template away. */
function isTemplateSwitch(path: Path, value: unknown): boolean {
  return path.length === 2 && isGroup(path) && (value === false || value === 'false');
}

function isGroup(path: Path): boolean {
  if (path.length === 2) return path[0] === 'templates' && templateName.test(path[1] ?? '');
  return path.length === 0 || (path.length === 1 && groupNames().includes(path[0] ?? ''));
}

/** A template's name that only its capitals spoil. */
function isShouted(path: Path): boolean {
  return path.length === 2 && !isGroup(path) && isGroup(path.map((part) => part.toLowerCase()));
}

function shouted(path: Path, source: Source): ConfigError {
  const key = path.join('.');
  const text = `expected a template’s name in lower-case letters, like ${path.at(-1)?.toLowerCase()}, got ${path.at(-1)}`;
  return new ConfigError(`${label(source, key)}: ${text}`);
}

function unknownKey(path: Path, source: Source): ConfigError {
  const near = nearestKey(path);
  const spelling = near && (source.kind === 'env' ? variableName(near) : near);
  const shown = quote(path.join('.')).slice(1, -1);
  return new ConfigError(`${label(source, shown)}: no such setting${spelling ? `; did you mean ${spelling}?` : ''}`);
}

export function variableName(key: string): string {
  return `BERTH_${key.toUpperCase().replaceAll('.', '__')}`;
}

function noMapping(path: Path, value: unknown, source: Source): ConfigError {
  const what = path.length === 0 ? source.name : label(source, path.join('.'));
  return new ConfigError(`${what}: expected a mapping of settings, got ${quote(value)}`);
}

/** A setting given on the command line. */
export interface Override {
  /** `server.port` */
  readonly key: string;
  readonly value: string;
  /** As the user wrote it: `--port`. */
  readonly flag: string;
}

export function entriesFromOverrides(overrides: readonly Override[]): readonly Entry[] {
  return overrides.flatMap(({ key, value, flag }) => entriesAt(key.split('.'), value, { kind: 'flag', name: flag }));
}
