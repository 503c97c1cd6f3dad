import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { z } from 'zod';
import {
  ConfigError,
  entriesFromEnv,
  entriesFromFile,
  entriesFromOverrides,
  fileVariables,
  label,
  variable,
  type Entry,
  type Env,
  type Override,
  type Source,
} from './config/layers.ts';
import { builtInTemplates, inertKeys, schema, type Settings } from './config/schema.ts';

export { ConfigError, type Override, type Source } from './config/layers.ts';
export { changedSettings } from './config/changes.ts';
export { describeConfig, type ShownSetting } from './config/describe.ts';
export type { Template } from './config/schema.ts';
export type { ApiKey } from './config/values.ts';

/** The effective settings: checked, with defaults, durations in seconds, sizes in bytes. Its secrets are templates' env and `open_webui`'s. */
export type Config = Omit<Settings, 'auth' | 'audit'> & {
  /** `settled` is false while the mode still depends on whether the state holds keys, see `settleAuth`. */
  readonly auth: Settings['auth'] & {
    readonly mode: 'none' | 'keys';
    readonly settled: boolean;
    /** Whether the operator wrote the mode out. */
    readonly written: boolean;
  };
  readonly audit: Settings['audit'] & { readonly enabled: boolean; readonly file: string };
};

export interface ConfigInput {
  readonly env: Env;
  /** Settings from the command line; they win over everything. */
  readonly overrides?: readonly Override[];
  /** Path of the YAML file (`--config`); absent: `BERTH_CONFIG_FILE`, or none. */
  readonly file?: string;
  readonly readFile?: (path: string) => string;
}

export interface LoadedConfig {
  readonly config: Config;
  /** By setting (`server.port`): where its value came from. Absent = default. */
  readonly sources: ReadonlyMap<string, Source>;
  /** Sentences for the log: what was accepted without meaning anything. */
  readonly notes: readonly string[];
}

/**
 * Defaults, under the security file, under the file, under the environment, under the command line.
 * Throws `ConfigError`, whose message is one line, for an unknown key, a bad value or an unreadable file.
 */
export function loadConfig(input: ConfigInput): LoadedConfig {
  const given = layers(input);
  const entries = [...builtIns(input.env), ...given.filter((entry) => !isInert(entry))];
  const latest = new Map(entries.map((entry) => [entry.path.join('.'), entry]));
  const sources = new Map([...latest].map(([key, entry]) => [key, entry.source]));
  const settings = parse(assemble(latest), sources);
  checkAcross(settings, sources);
  return { config: effective(settings, sources), sources, notes: given.filter(isInert).map(inertNote) };
}

function layers(input: ConfigInput): readonly Entry[] {
  const { env, overrides = [], readFile = (path) => readFileSync(path, 'utf8') } = input;
  const security = variable(env, fileVariables.security);
  const main = input.file === undefined ? variable(env, fileVariables.config) : { name: '--config', value: input.file };
  return [
    ...(security ? entriesFromFile(security.value, readOrThrow(readFile, security)) : []),
    ...(main ? entriesFromFile(main.value, readOrThrow(readFile, main)) : []),
    ...entriesFromEnv(env),
    ...entriesFromOverrides(overrides),
  ];
}

function readOrThrow(readFile: (path: string) => string, from: { name: string; value: string }): string {
  try {
    return readFile(from.value);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unreadable';
    throw new ConfigError(`${from.name}: expected a readable file, got ${JSON.stringify(from.value)} (${code})`, {
      cause,
    });
  }
}

const byDefault: Source = { kind: 'default', name: '' };

function builtIns(env: Env): readonly Entry[] {
  const state = env['XDG_STATE_HOME'] || `${env['HOME'] || '/var/lib'}/.local/state`;
  const templates = Object.entries(builtInTemplates).map(([name, { image }]) => [`templates.${name}.image`, image]);
  return [['server.state_dir', `${state}/berth`], ...templates].map(([key = '', value]) => ({
    path: key.split('.'),
    value,
    source: byDefault,
  }));
}

const isInert = (entry: Entry): boolean => inertKeys.has(entry.path.join('.'));

function inertNote({ source, path }: Entry): string {
  return `${label(source, path.join('.'))} is a setting of MCP Persistent Shell without a meaning here; it is ignored.`;
}

type Mapping = { [key: string]: unknown };

function assemble(entries: ReadonlyMap<string, Entry>): Mapping {
  const root: Mapping = {};
  for (const { path, value } of entries.values()) place(root, path, value);
  const templates = root['templates'] as Mapping;
  for (const [key, { value }] of entries)
    if (value === false && isTemplate(key)) delete templates[key.split('.')[1] ?? ''];
  return root;
}

const isTemplate = (key: string): boolean => /^templates\.[^.]+$/.test(key);

function place(root: Mapping, path: readonly string[], value: unknown): void {
  const [last = '', ...parents] = path.toReversed();
  if (isTemplate(path.join('.'))) return;
  let at = root;
  for (const key of parents.toReversed()) at = (at[key] ??= {}) as Mapping;
  at[last] = value;
}

function parse(raw: Mapping, sources: ReadonlyMap<string, Source>): Settings {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw issue ? issueError(issue, sources) : new ConfigError('the settings do not fit together');
}

function issueError(issue: z.core.$ZodIssue, sources: ReadonlyMap<string, Source>): ConfigError {
  const key = issue.path.join('.');
  const source = sources.get(key);
  if (source) return new ConfigError(`${label(source, key)}: ${issue.message}`);
  const group = issue.path.slice(0, 2).join('.');
  const [sibling, from = byDefault] = [...sources].find(([other]) => other.startsWith(`${group}.`)) ?? [];
  return new ConfigError(
    `${label(from, sibling ?? key)}: expected ${key} beside it, as ${group} is no built-in template`,
  );
}

function checkAcross(settings: Settings, sources: ReadonlyMap<string, Source>): void {
  const fail = (key: string, text: string): never => {
    throw new ConfigError(`${label(sources.get(key) ?? byDefault, key)}: ${text}`);
  };
  const names = Object.keys(settings.templates).join(', ') || 'none at all';
  const known = (template: string) => Object.hasOwn(settings.templates, template);
  if (!known(settings.session.template)) {
    fail('session.template', `expected one of the templates (${names}), got "${settings.session.template}"`);
  }
  for (const key of settings.auth.keys) {
    const unknown = key.templates?.find((template) => !known(template));
    if (unknown) fail('auth.keys', `expected templates among ${names} for "${key.name}", got "${unknown}"`);
  }
  if (settings.shell.timeout > settings.shell.max_timeout) {
    const { timeout, max_timeout: most } = settings.shell;
    fail('shell.timeout', `expected at most shell.max_timeout (${most} seconds), got ${timeout}`);
  }
  for (const [group, rule] of Object.entries(settings.auth.groups)) {
    const unknown = rule.templates?.find((template) => !known(template));
    if (unknown) fail('auth.groups', `expected templates among ${names} for "${group}", got "${unknown}"`);
  }
  const signed = settings.auth.keys.find((key) => key.users === 'signed');
  if (signed && settings.open_webui.jwt_secret === undefined) {
    fail('auth.keys', `expected open_webui.jwt_secret beside users: signed of "${signed.name}", got none`);
  }
  if (settings.oidc.issuer !== undefined && settings.oidc.audience === undefined) {
    fail('oidc.issuer', 'expected oidc.audience beside it, got none');
  }
}

/**
 * The settings with the mode of authentication decided, by whoever knows the state: keys made with `berth key create`
 * ask for keys as those in the settings do. Throws `ConfigError` where nobody could get in, or everybody from outside.
 */
export function settleAuth(config: Config, hasStoredKeys: boolean): Config {
  const { auth, server } = config;
  const settled = (mode: 'none' | 'keys') => ({ ...config, auth: { ...auth, mode, settled: true } });
  if (auth.settled) return config;
  if (hasStoredKeys || asksForKeys(config)) return settled('keys');
  const advice = 'make one with "berth key create NAME"';
  if (auth.mode === 'none') return settled('none');
  if (isPublic(server.public_url)) {
    throw new ConfigError(
      `server.public_url: expected keys with an address that others use (or auth.mode: none, written out), got ${JSON.stringify(server.public_url)} without keys; ${advice}`,
    );
  }
  if (isLoopback(server.host)) throw new ConfigError(`auth.mode: expected at least one key, got none; ${advice}`);
  throw new ConfigError(
    `server.host: expected keys beyond loopback (or auth.mode: none, written out), got ${JSON.stringify(server.host)} without keys; ${advice}`,
  );
}

/** Whether anybody can prove who he is: by a key, or by a token of a known issuer. */
function asksForKeys({ auth, open_webui, oidc }: Pick<Settings, 'auth' | 'open_webui' | 'oidc'>): boolean {
  return auth.keys.length > 0 || open_webui.session_secret !== undefined || oidc.issuer !== undefined;
}

export function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1' || host === '[::1]') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}

/** Whether an address leads others here: a name that is not this machine's own. */
function isPublic(url: string | undefined): boolean {
  return url !== undefined && !isLoopback(new URL(url).hostname);
}

function effective(settings: Settings, sources: ReadonlyMap<string, Source>): Config {
  const { auth, audit, security } = settings;
  const on = security.audit_log || audit.stdout || sources.has('audit.file');
  return {
    ...settings,
    shell: security.enabled ? capped(settings.shell, security) : settings.shell,
    auth: { ...auth, ...authMode(settings) },
    audit: { ...audit, enabled: on, file: audit.file ?? `${settings.server.state_dir}/audit.jsonl` },
  };
}

function authMode(settings: Settings): Pick<Config['auth'], 'mode' | 'settled' | 'written'> {
  const { mode } = settings.auth;
  const { host, public_url: url } = settings.server;
  const asks = asksForKeys(settings);
  const open = !asks && isLoopback(host) && !isPublic(url);
  return { mode: mode ?? (open ? 'none' : 'keys'), settled: asks || mode === 'none', written: mode !== undefined };
}

function capped(shell: Settings['shell'], security: Settings['security']): Settings['shell'] {
  const most = security.max_execution_time ?? shell.max_timeout;
  const bytes = security.max_output_size ?? Number.MAX_SAFE_INTEGER;
  const head = Math.min(shell.output_head, Math.floor(bytes / 3));
  return {
    ...shell,
    max_timeout: most,
    timeout: Math.min(shell.timeout, most),
    output_head: head,
    output_tail: Math.min(shell.output_tail, bytes - head),
  };
}
