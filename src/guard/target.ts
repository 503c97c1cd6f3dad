import { Refusal } from './refusal.ts';

/** A request's target, decoded once; `version` as in `/v1.41`, or empty. */
export interface Target {
  readonly version: string;
  readonly path: string;
  readonly query: string;
}

/** The oldest API whose bodies mean what the guard takes them to mean. */
const oldest = 40;

/** Throws a `Refusal` for whatever two parsers could read in two ways. */
export function readTarget(url: string): Target {
  const [, raw = '', query = ''] = /^(\/[^?#]*)(?:\?([^#]*))?$/.exec(url) ?? [];
  const path = decode(raw);
  if (!/^(\/[\w:@+-][\w:@+.-]*)+$/.test(path) && path !== '/_ping')
    throw new Refusal('The path is not one that Berth uses.');
  const [, version = '', minor = '', rest = ''] = /^(\/v1\.(\d{1,3}))(\/.*)$/.exec(path) ?? [];
  if (!version) return { version, path, query };
  if (Number(minor) < oldest) throw new Refusal(`The API before 1.${oldest} is not let through.`);
  return { version, path: rest, query };
}

function decode(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw new Refusal('The path cannot be decoded.', 400);
  }
}
