import { z } from 'zod';

export interface ObjectSchema {
  readonly type: 'object';
  readonly [keyword: string]: unknown;
}

type Json = Record<string, unknown>;

/** Longest repetition that stays in a schema: grammars compiled from schemas refuse big ones, and a whole chat with them. */
const longestRepetition = 128;
/** A greater number is the edge of a type or a sum of bytes, and costs a model more than it tells. */
const greatestNumber = 100_000;

const bounds: Record<string, { keep: (bound: number) => boolean; says: (bound: number) => string }> = {
  maxLength: { keep: (bound) => bound <= longestRepetition, says: (bound) => `At most ${bound} characters.` },
  maxItems: { keep: (bound) => bound <= longestRepetition, says: (bound) => `At most ${bound} items.` },
  minLength: { keep: (bound) => bound <= longestRepetition, says: (bound) => `At least ${bound} characters.` },
  minItems: { keep: (bound) => bound <= longestRepetition, says: (bound) => `At least ${bound} items.` },
  maximum: { keep: (bound) => bound <= greatestNumber, says: (bound) => `At most ${bound}.` },
  minimum: { keep: (bound) => bound >= -greatestNumber, says: (bound) => `At least ${bound}.` },
  // Some model servers refuse a schema that holds either.
  exclusiveMinimum: { keep: () => false, says: (bound) => `More than ${bound}.` },
  exclusiveMaximum: { keep: () => false, says: (bound) => `Less than ${bound}.` },
};

/** A tool's arguments as `tools/list` shows them: bounds that clients choke on are words there. The server checks them all. */
export function listedSchema(schema: z.ZodType): ObjectSchema {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { io: 'input' });
  return { ...softened(json), type: 'object' };
}

function softened(schema: Json): Json {
  const gone = Object.entries(schema).filter(([keyword, bound]) => isDropped(keyword, bound));
  const kept = Object.entries(schema).filter(([keyword, bound]) => !isDropped(keyword, bound));
  const notes = gone.flatMap(([keyword, bound]) => noteOf(keyword, bound as number));
  const description = [schema['description'], ...notes].filter((part) => part !== undefined).join(' ');
  return {
    ...Object.fromEntries(kept.map(([key, value]) => [key, within(key, value)])),
    ...(description && { description }),
  };
}

/** The schemas inside a schema. */
function within(keyword: string, value: unknown): unknown {
  if (keyword === 'items') return softened(value as Json);
  if (keyword !== 'properties') return value;
  return Object.fromEntries(Object.entries(value as Json).map(([name, schema]) => [name, softened(schema as Json)]));
}

function isDropped(keyword: string, bound: unknown): boolean {
  return typeof bound === 'number' && bounds[keyword] !== undefined && !bounds[keyword].keep(bound);
}

function noteOf(keyword: string, bound: number): string[] {
  return Math.abs(bound) >= Number.MAX_SAFE_INTEGER ? [] : [bounds[keyword]!.says(bound)];
}
