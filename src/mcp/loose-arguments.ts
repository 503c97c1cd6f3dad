import type { ObjectSchema } from './listed-schema.ts';

interface Property {
  readonly type?: unknown;
  readonly pattern?: unknown;
}

/**
 * A call's arguments with what small models write put right where it has one meaning: `"30"` for a number, `"false"` for
 * a boolean, a list as JSON text, `null` or `""` for an optional that is left out. Anything else stays for the check.
 */
export function tidyArguments(args: unknown, schema: ObjectSchema): unknown {
  if (typeof args !== 'object' || args === null || Array.isArray(args)) return args;
  const properties = (schema['properties'] ?? {}) as Record<string, Property>;
  const required = (schema['required'] ?? []) as readonly string[];
  const given = Object.entries(args).filter(
    ([name, value]) => value !== null && (value !== '' || required.includes(name) || !Object.hasOwn(properties, name)),
  );
  return Object.fromEntries(
    given.map(([name, value]) => [
      name,
      Object.hasOwn(properties, name) ? tidy(name, value, properties[name]!) : value,
    ]),
  );
}

function tidy(name: string, value: unknown, { type, pattern }: Property): unknown {
  if (type === 'string') return asText(name, value, pattern !== undefined);
  if (typeof value !== 'string') return value;
  const text = value.trim();
  if (type === 'number' || type === 'integer') return /^[+-]?\d+(\.\d+)?$/.test(text) ? Number(text) : value;
  if (type === 'boolean') return /^(true|false)$/i.test(text) ? text.toLowerCase() === 'true' : value;
  if (type === 'array') return listIn(text) ?? value;
  return value;
}

/** Digits are text where a pattern decides what fits; an object as a file's content is its JSON. */
function asText(name: string, value: unknown, hasPattern: boolean): unknown {
  if (hasPattern && typeof value === 'number') return String(value);
  if (name === 'content' && typeof value === 'object') return JSON.stringify(value, null, 2);
  return value;
}

function listIn(text: string): unknown[] | undefined {
  try {
    const list: unknown = JSON.parse(text);
    return Array.isArray(list) ? list : undefined;
  } catch {
    return undefined;
  }
}
