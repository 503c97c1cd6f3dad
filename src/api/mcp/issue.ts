import type { z } from 'zod';

type Issue = z.core.$ZodIssue;

/** One sentence that names the argument, what was expected and what came. */
export function describeIssue(tool: string, known: readonly string[], issue: Issue): string {
  if (issue.code === 'unrecognized_keys') return unknownArgument(tool, known, issue.keys[0] ?? '');
  const where = issue.path.length === 0 ? 'The arguments object' : `\`${issue.path.join('.')}\``;
  if (issue.input === undefined) return `${where} is required by ${tool}: expected ${expectation(issue)}, got nothing.`;
  return `${where} must be ${expectation(issue)}, got ${show(issue.input)}.`;
}

function unknownArgument(tool: string, known: readonly string[], key: string): string {
  const takes = known.length === 0 ? 'takes no arguments' : `takes ${known.join(', ')}`;
  return `${show(key)} is not an argument of ${tool}, which ${takes}.`;
}

function expectation(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return article(issue.expected);
    case 'invalid_value':
      return `one of ${issue.values.map((value) => show(value)).join(', ')}`;
    case 'too_small':
      return bound(issue.origin, issue.inclusive === false ? 'more than' : 'at least', issue.minimum);
    case 'too_big':
      return bound(issue.origin, issue.inclusive === false ? 'less than' : 'at most', issue.maximum);
    default:
      return issue.message;
  }
}

function article(type: string): string {
  const named = { int: 'a whole number', object: 'an object', array: 'an array' }[type];
  return named ?? `a ${type}`;
}

function bound(origin: string, relation: string, limit: number | bigint): string {
  if (origin === 'string' && Number(limit) === 1) return 'text that is not empty';
  const unit = origin === 'string' ? ' characters long' : origin === 'array' ? ' items long' : '';
  return `${relation} ${limit}${unit}`;
}

/** A value as a reader recognises it, at most some 60 characters long. */
function show(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return JSON.stringify(value.length > 48 ? `${value.slice(0, 48)}…` : value);
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object') return 'an object';
  return String(value);
}
