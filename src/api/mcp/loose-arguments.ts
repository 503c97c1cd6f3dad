import type { ObjectSchema } from './listed-schema.ts';

interface Property {
  readonly type?: unknown;
  readonly pattern?: unknown;
  readonly minLength?: unknown;
  readonly enum?: unknown;
}

/**
 * A call's arguments with what small models write put right where it has one meaning: `"30"` for a number, `"false"` for
 * a boolean, a list as JSON text, `null` or `""` for an optional that is left out. Anything else stays for the check.
 */
export function tidyArguments(args: unknown, schema: ObjectSchema): unknown {
  if (typeof args !== 'object' || args === null || Array.isArray(args)) return args;
  const properties = (schema['properties'] ?? {}) as Record<string, Property>;
  const required = (schema['required'] ?? []) as readonly string[];
  const isLeftOut = (name: string, value: unknown) =>
    value === null || (value === '' && !required.includes(name) && isNoValue(own(properties, name)));
  const given = Object.entries(args).filter(([name, value]) => !isLeftOut(name, value));
  return Object.fromEntries(given.map(([name, value]) => [name, tidy(name, value, own(properties, name))]));
}

/** A property of the schema's own; an argument may have any name. */
function own(properties: Record<string, Property>, name: string): Property | undefined {
  return Object.hasOwn(properties, name) ? properties[name] : undefined;
}

/** Whether the check refuses `""`: where it is a text like others (an Enter alone, an empty file) it stays. */
function isNoValue(property: Property | undefined): boolean {
  if (property === undefined) return false;
  const { type, minLength, enum: choices, pattern } = property;
  return type !== 'string' || minLength !== undefined || choices !== undefined || pattern !== undefined;
}

function tidy(name: string, value: unknown, property: Property | undefined): unknown {
  const { type, pattern } = property ?? {};
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
