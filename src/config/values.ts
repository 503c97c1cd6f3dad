import { createHash } from 'node:crypto';
import ipaddr from 'ipaddr.js';
import { z } from 'zod';
import { re2 } from '../lib/re2.ts';

/** What the settings table and error lines say about a setting. */
export interface SettingMeta {
  readonly description: string;
  /** What is expected, as a noun phrase: `a whole number from 0 to 65535`. */
  readonly expected: string;
  /** The default as a person would write it; empty where there is none. */
  readonly fallback: string;
  /** It has no value of its own when nobody gives one. */
  readonly optional: boolean;
  /** Its value may hold a secret: only what `show` says of it may be told. */
  readonly guarded: boolean;
  /** A value as a person would write it, without secrets. */
  readonly show: (value: never) => string;
}

/** Turns what a file or a variable gave into a value, or throws `Unfit`. */
export interface Kind<T> {
  readonly expected: string;
  readonly parse: (raw: unknown) => T;
  readonly show: (value: T) => string;
  /** The value never appears in a message. */
  readonly secret?: boolean;
  /** What of a value may appear in a message. */
  readonly mask?: (raw: string) => string;
}

/** A value that is not what was expected; the message may say which part, after the expectation. */
export class Unfit extends Error {
  readonly part: string;
  constructor(part = '') {
    super(part);
    this.part = part;
  }
}

/** A setting with a default. */
export function setting<T>(kind: Kind<T>, fallback: T, description: string) {
  const meta = {
    description,
    expected: kind.expected,
    fallback: kind.show(fallback),
    optional: false,
    guarded: isGuarded(kind),
    show: kind.show,
  };
  return schemaOf(kind)
    .default(fallback as never)
    .meta(meta);
}

/** A setting that may be absent. `fallback` tells the reader what its absence means. */
export function optional<T>(kind: Kind<T>, description: string, fallback = '') {
  return schemaOf(kind)
    .exactOptional()
    .meta({
      description,
      expected: kind.expected,
      fallback,
      optional: true,
      guarded: isGuarded(kind),
      show: kind.show,
    });
}

/** A setting that must be there, from whoever reads the settings if from nobody else. */
export function required<T>(kind: Kind<T>, description: string, fallback = 'must be given') {
  return schemaOf(kind).meta({
    description,
    expected: kind.expected,
    fallback,
    optional: true,
    guarded: isGuarded(kind),
    show: kind.show,
  });
}

const isGuarded = (kind: Pick<Kind<never>, 'secret' | 'mask'>): boolean =>
  kind.secret === true || kind.mask !== undefined;

function schemaOf<T>(kind: Kind<T>) {
  return z.unknown().transform((raw, context): T => {
    try {
      return kind.parse(raw);
    } catch (error) {
      if (!(error instanceof Unfit)) throw error;
      const came = kind.secret ? '' : `, got ${quote(typeof raw === 'string' && kind.mask ? kind.mask(raw) : raw)}`;
      context.addIssue({ code: 'custom', message: `expected ${kind.expected}${error.part || came}` });
      return z.NEVER;
    }
  });
}

/** A value in an error line: JSON on one line, at most 80 characters. */
export function quote(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value !== null && typeof value === 'object') return Array.isArray(value) ? 'a list' : 'a mapping';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  const safe = text.replace(/[\u007f-\u009f\u2028\u2029\p{Cf}]/gu, '?');
  return safe.length > 80 ? `${safe.slice(0, 79)}…` : safe;
}

const numeric = (raw: unknown): number => {
  if (typeof raw === 'number') return raw;
  if (typeof raw === 'string' && /^\s*[+-]?(\d+\.?\d*|\.\d+)\s*$/.test(raw)) return Number(raw);
  throw new Unfit();
};

const within = (value: number, min: number, max: number): number => {
  if (!(value >= min && value <= max)) throw new Unfit();
  return value;
};

const range = (what: string, min: number, max: number, show: (n: number) => string) =>
  max === Number.MAX_SAFE_INTEGER ? `${what}, at least ${show(min)}` : `${what} from ${show(min)} to ${show(max)}`;

export function whole(min = 0, max = Number.MAX_SAFE_INTEGER): Kind<number> {
  return {
    expected: range('a whole number', min, max, String),
    parse: (raw) => {
      const value = within(numeric(raw), min, max);
      if (!Number.isInteger(value)) throw new Unfit();
      return value;
    },
    show: String,
  };
}

export function number(min: number, max: number): Kind<number> {
  return {
    expected: range('a number', min, max, String),
    parse: (raw) => within(numeric(raw), min, max),
    show: String,
  };
}

const durationUnits: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 };

/** The longest delay a timer takes, in whole days. */
const longestDelay = 24 * 86400;

/** Seconds: a number, or `15m`, `2h`, `1d`. */
export function seconds(min = 0, max = longestDelay): Kind<number> {
  return {
    expected: range('seconds (or 90s, 15m, 2h, 1d)', min, max, String),
    parse: (raw) => {
      const match = typeof raw === 'string' && /^\s*(\d+\.?\d*)\s*(ms|s|m|h|d)\s*$/.exec(raw);
      const value = match ? Number(match[1]) * (durationUnits[match[2] ?? 's'] ?? 1) : numeric(raw);
      return within(value, min, max);
    },
    show: String,
  };
}

const powers: Readonly<Record<string, number>> = { '': 0, k: 1, m: 2, g: 3, t: 4 };

/** Bytes: a number, `512MiB`, `10GB` (decimal), or `512m` (binary, as Docker writes it). */
export function size(min = 0, max = Number.MAX_SAFE_INTEGER): Kind<number> {
  return {
    expected: range('a size in bytes (or 512KiB, 64MiB, 2GiB)', min, max, showSize),
    parse: (raw) => Math.floor(within(parseSize(raw), min, max)),
    show: showSize,
  };
}

function parseSize(raw: unknown): number {
  const match = typeof raw === 'string' && /^\s*(\d+\.?\d*)\s*([kmgt]?)(i?b?)\s*$/i.exec(raw);
  if (!match) return numeric(raw);
  const decimal = match[3]?.toLowerCase() === 'b' && match[2] !== '';
  return Number(match[1]) * (decimal ? 1000 : 1024) ** (powers[match[2]?.toLowerCase() ?? ''] ?? 0);
}

export function showSize(bytes: number): string {
  const units = ['', 'KiB', 'MiB', 'GiB', 'TiB'];
  let step = 0;
  let value = bytes;
  while (value !== 0 && value % 1024 === 0 && step < units.length - 1) {
    value /= 1024;
    step += 1;
  }
  return `${value}${units[step]}`;
}

export const flag: Kind<boolean> = {
  expected: 'true or false',
  parse: (raw) => {
    const text = String(raw).trim().toLowerCase();
    if (raw === true || ['true', '1', 'yes', 'on'].includes(text)) return true;
    if (raw === false || ['false', '0', 'no', 'off'].includes(text)) return false;
    throw new Unfit();
  },
  show: String,
};

/** `aliases` are accepted and stand for one of `names`. */
export function oneOf<const T extends string>(names: readonly T[], aliases: Readonly<Record<string, T>> = {}): Kind<T> {
  return {
    expected: names.length === 1 ? `${names[0]}` : `one of ${names.join(', ')}`,
    parse: (raw) => {
      const text = String(raw).trim().toLowerCase();
      const found = names.find((name) => name === text) ?? (Object.hasOwn(aliases, text) ? aliases[text] : undefined);
      if (typeof raw !== 'string' || found === undefined) throw new Unfit();
      return found;
    },
    show: (value) => value,
  };
}

const oneLine = /^[^\p{Cc}\u2028\u2029]*$/u;

/** One line of text, without control characters. */
export function text(expected = 'text', fits: RegExp | ((value: string) => boolean) = /./s): Kind<string> {
  const test = typeof fits === 'function' ? fits : (value: string) => fits.test(value);
  return {
    expected,
    parse: (raw) => {
      if (typeof raw !== 'string' || !oneLine.test(raw) || !test(raw)) throw new Unfit();
      return raw;
    },
    show: (value) => value,
  };
}

export const path = text('an absolute path', /^\//);
export const name = text('a name of a-z, 0-9, _ and -, beginning with a letter', /^[a-z][a-z0-9_-]{0,39}$/);

/** An address that may hold a password, which is never shown. */
export function address(expected: string, fits: RegExp | ((value: string) => boolean)): Kind<string> {
  const mask = (raw: string) => raw.replace(/^(\w+:\/\/)?[^/]*@/, '$1');
  return { ...text(expected, fits), mask, show: mask };
}

export const httpUrl = address('an http or https URL', (value) => {
  const url = URL.parse(value);
  return url !== null && /^https?:$/.test(url.protocol);
});

/** An IP address, or a range of them as `10.0.0.0/8`. */
export const addressRange = address(
  'an IP address or a range like 10.0.0.0/8',
  (value) => ipaddr.isValid(value) || ipaddr.isValidCIDR(value),
);

/** Whether an address may be anybody's on the internet; a mapped one is its IPv4 one. */
/** Loopback and link-local: they lead to nothing but the host that connects, or to its cloud. */
export const isHostOwnAddress = (address: string): boolean =>
  ['loopback', 'linkLocal', 'unspecified'].includes(ipaddr.process(address).range());

export const isPublicAddress = (address: string): boolean => ipaddr.process(address).range() === 'unicast';

/** A YAML list; in a variable, JSON or values separated by commas. */
export function list<T>(item: Kind<T>, what: string): Kind<readonly T[]> {
  return {
    expected: `a list of ${what}`,
    parse: (raw) => itemsOf(raw).map((one, index) => parseItem(item, one, `, got ${quote(one)} as item ${index + 1}`)),
    show: (values) => (values.length === 0 ? '[]' : values.map(item.show).join(', ')),
    ...(item.secret ? { secret: true } : {}),
  };
}

function itemsOf(raw: unknown): readonly unknown[] {
  if (Array.isArray(raw)) return raw;
  if (typeof raw !== 'string') throw new Unfit();
  if (!raw.trimStart().startsWith('['))
    return raw
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '');
  const parsed = parseJson(raw);
  if (!Array.isArray(parsed)) throw new Unfit();
  return parsed;
}

function parseItem<T>(item: Kind<T>, raw: unknown, part: string): T {
  try {
    return item.parse(raw);
  } catch (error) {
    if (error instanceof Unfit && !item.secret) throw new Unfit(error.part || part);
    throw error;
  }
}

function parseJson(raw: string): unknown {
  try {
    return JSON.parse(raw);
  } catch {
    throw new Unfit();
  }
}

const variableName = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Environment variables: a mapping; in a variable, JSON or `A=1,B=2`. Values may be secret and are never shown. */
export const variables: Kind<Readonly<Record<string, string>>> = {
  expected: 'a mapping of variable names to text (or A=1,B=2)',
  secret: true,
  parse: (raw) => Object.fromEntries(pairsOf(raw).map(([key, value]) => [checkedName(key), variableValue(key, value)])),
  show: (value) => (Object.keys(value).length === 0 ? '{}' : Object.keys(value).join(', ')),
};

function checkedName(key: string): string {
  if (!variableName.test(key)) throw new Unfit(`, got ${quote(key)} as a name`);
  return key;
}

function variableValue(key: string, value: unknown): string {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value !== 'string' || value.includes('\0')) throw new Unfit(`, got something else for ${quote(key)}`);
  return value;
}

/** The entries of a mapping, which a variable holds as JSON. */
export function mapping(raw: unknown): readonly (readonly [string, unknown])[] {
  if (typeof raw === 'string') return mapping(parseJson(raw));
  if (raw === null || typeof raw !== 'object' || Array.isArray(raw)) throw new Unfit();
  return Object.entries(raw);
}

function pairsOf(raw: unknown): readonly (readonly [string, unknown])[] {
  if (typeof raw === 'string' && raw.trimStart().startsWith('{')) return pairsOf(parseJson(raw));
  if (raw !== null && typeof raw === 'object' && !Array.isArray(raw)) return Object.entries(raw);
  if (typeof raw !== 'string') throw new Unfit();
  return itemsOf(raw).map((part) => splitOnce(String(part)));
}

function splitOnce(pair: string): readonly [string, string] {
  const at = pair.indexOf('=');
  if (at < 1) throw new Unfit();
  return [pair.slice(0, at).trim(), pair.slice(at + 1)];
}

/** An API key as the server keeps it: the secret itself is hashed when the settings are read. */
export interface ApiKey {
  readonly name: string;
  /** SHA-256 of the secret, hexadecimal. */
  readonly sha256: string;
  /** Template names its owner may use; absent = all. */
  readonly templates?: readonly string[];
  /** Its owner serves many users and names them: in plain headers, which it is trusted with, or by a signed token. */
  readonly users?: 'headers' | 'signed';
}

const shortestSecret = 16;

/** A YAML list of `{ name, key | sha256, templates?, users? }`; in a variable, JSON or `name=secret,name2=secret`. */
export const apiKeys: Kind<readonly ApiKey[]> = {
  expected: `a list of {name, key or sha256, templates?, users?}, each key at least ${shortestSecret} characters (or name=key,name2=key)`,
  secret: true,
  parse: (raw) => distinct(keyEntries(raw).map((entry, index) => parseKey(entry, index + 1))),
  show: (keys) => (keys.length === 0 ? '[]' : keys.map((key) => key.name).join(', ')),
};

function keyEntries(raw: unknown): readonly unknown[] {
  if (typeof raw !== 'string' || raw.trimStart().startsWith('[')) return itemsOf(raw);
  return pairsOf(raw).map(([owner, key]) => ({ name: owner, key }));
}

function parseKey(entry: unknown, place: number): ApiKey {
  if (entry === null || typeof entry !== 'object') throw new Unfit(`; item ${place} is no mapping`);
  const { name: owner, key, sha256, templates, users, ...rest } = entry as Record<string, unknown>;
  const [unknownKey] = Object.keys(rest);
  if (unknownKey !== undefined) throw new Unfit(`; item ${place} has the unknown key ${quote(unknownKey)}`);
  if (typeof owner !== 'string' || !/^[\w.@-]{1,64}$/.test(owner)) throw new Unfit(`; item ${place} has no fit name`);
  const allowed = templates === undefined ? {} : { templates: list(name, 'template names').parse(templates) };
  return { name: owner, sha256: digestOf(owner, key, sha256), ...allowed, ...usersOf(owner, users) };
}

function usersOf(owner: string, users: unknown): Pick<ApiKey, 'users'> {
  if (users === undefined || users === 'none') return {};
  if (users === 'headers' || users === 'signed') return { users };
  throw new Unfit(`; the users of ${quote(owner)} are none of none, headers, signed`);
}

function digestOf(owner: string, key: unknown, sha256: unknown): string {
  if ((key === undefined) === (sha256 === undefined)) throw new Unfit(`; ${quote(owner)} needs either key or sha256`);
  if (typeof sha256 === 'string' && /^[0-9a-f]{64}$/i.test(sha256)) return sha256.toLowerCase();
  if (sha256 !== undefined) throw new Unfit(`; the sha256 of ${quote(owner)} is not 64 hexadecimal digits`);
  if (typeof key !== 'string' || key.length < shortestSecret)
    throw new Unfit(`; the key of ${quote(owner)} is too short`);
  return createHash('sha256').update(key).digest('hex');
}

function distinct(keys: readonly ApiKey[]): readonly ApiKey[] {
  const again = keys.find((key, index) => keys.findIndex((other) => other.sha256 === key.sha256) < index);
  if (again) throw new Unfit(`; ${quote(again.name)} repeats another's key`);
  return keys;
}

/** An operator's mount, as the engine port takes it. */
export interface MountSetting {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
}

const reserved = /^\/(workspace|opt\/berth|tmp|proc|sys|dev)?(\/|$)/;

/** `source:target[:ro|:rw]` or `{ source, target, read_only? }`; read-only unless written out. */
export const mount: Kind<MountSetting> = {
  expected: 'source:target[:rw]',
  parse: (raw) => {
    const { source, target, readOnly } = typeof raw === 'string' ? mountFromText(raw) : mountFromMapping(raw);
    const validSource = /^(\/[^:]*|[A-Za-z0-9][\w.-]*)$/.test(source);
    if (!validSource || !/^\/[^:]+$/.test(target)) throw new Unfit();
    if (reserved.test(target) || target.split('/').includes('..')) throw new Unfit(`; ${quote(target)} is reserved`);
    return { source, target, readOnly };
  },
  show: (value) => `${value.source}:${value.target}:${value.readOnly ? 'ro' : 'rw'}`,
};

function mountFromText(raw: string): MountSetting {
  const [source = '', target = '', mode = 'ro', ...rest] = raw.split(':');
  if (rest.length > 0 || (mode !== 'ro' && mode !== 'rw')) throw new Unfit();
  return { source, target, readOnly: mode === 'ro' };
}

function mountFromMapping(raw: unknown): MountSetting {
  if (raw === null || typeof raw !== 'object') throw new Unfit();
  const { source, target, read_only: readOnly = true, ...rest } = raw as Record<string, unknown>;
  if (typeof source !== 'string' || typeof target !== 'string' || Object.keys(rest).length > 0) throw new Unfit();
  return { source, target, readOnly: flag.parse(readOnly) };
}

/** A regular expression of RE2, kept as its source. */
export const pattern: Kind<string> = {
  expected: 'a regular expression without look-around and back-references',
  parse: (raw) => {
    if (typeof raw !== 'string' || raw === '') throw new Unfit();
    try {
      re2(raw);
    } catch {
      throw new Unfit();
    }
    return raw;
  },
  show: (value) => value,
};
