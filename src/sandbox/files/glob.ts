import { AppError } from '../../errors.ts';

const longestPattern = 1000;
const mostAlternatives = 100;
/** Comparisons of a character or a name that a matcher may make: a second's worth. Half a million paths take a tenth. */
const mostSteps = 100_000_000;

/**
 * A test for relative paths. `*` and `?` stay within a name, `**` spans directories, `[a-z]` and `{a,b}` do as in a
 * shell; a pattern without a slash is held against the name alone. No pattern takes exponential time; a matcher that
 * has taken too many steps over all its paths throws a sentence.
 */
export function globMatcher(pattern: string, steps = mostSteps): (path: string) => boolean {
  if (pattern === '' || pattern.length > longestPattern) {
    throw new AppError('invalid_argument', `glob must have 1 to ${longestPattern} characters; got ${pattern.length}.`);
  }
  const alternatives = expandBraces(pattern).map(shapeOf);
  const budget = { left: steps };
  return (path) => {
    const names = path.split('/').map(charactersOf);
    return alternatives.some((shape) => matchSegments(shape, names, (part, name) => fits(part, name, budget)));
  };
}

/** Whether a pattern reaches below the listed directory by itself. */
export function globIsDeep(pattern: string): boolean {
  return pattern.includes('/') || pattern.includes('**');
}

/** Runs of items, between which there may be anything. */
type Segments<T> = readonly (readonly T[])[];
/** Steps that are left. */
type Budget = { left: number };
type Test = (character: string) => boolean;
/** A name's pattern: between the segments are its `*`. */
type Part = Segments<Test>;

/** A path's pattern: between the segments are its `**`. */
function shapeOf(alternative: string): Segments<Part> {
  const parts = alternative.replace(/^\.?\//, '').split('/');
  const anywhere = parts.length === 1 && parts[0] !== '**' ? ['**', ...parts] : parts;
  return segmentsOf(anywhere, (part) => (part === '**' ? null : segmentsOf(tokenize(part), (token) => token)));
}

/** `null` parts one segment from the next. */
function segmentsOf<S, T>(sources: readonly S[], itemOf: (source: S) => T | null): Segments<T> {
  const segments: T[][] = [[]];
  for (const source of sources) {
    const item = itemOf(source);
    if (item === null) segments.push([]);
    else segments.at(-1)!.push(item);
  }
  return segments;
}

const surrogate = /[\ud800-\udfff]/;

function charactersOf(name: string): ArrayLike<string> {
  return surrogate.test(name) ? Array.from(name) : name;
}

function fits(part: Part, name: ArrayLike<string>, budget: Budget): boolean {
  spend(budget);
  return matchSegments(part, name, (test, character) => {
    spend(budget);
    return test(character);
  });
}

function spend(budget: Budget): void {
  budget.left -= 1;
  if (budget.left < 0) throw tooSlow();
}

/** The first segment is held against the start, the last against the end, each other as early as it fits. */
function matchSegments<T, U>(
  segments: Segments<T>,
  items: ArrayLike<U>,
  matches: (expected: T, item: U) => boolean,
): boolean {
  const isAt = (segment: readonly T[], at: number) => {
    for (let i = 0; i < segment.length; i += 1) if (!matches(segment[i]!, items[at + i]!)) return false;
    return true;
  };
  const first = segments[0]!;
  if (segments.length === 1) return first.length === items.length && isAt(first, 0);
  const last = segments.at(-1)!;
  const end = items.length - last.length;
  if (first.length > end || !isAt(last, end) || !isAt(first, 0)) return false;
  let at = first.length;
  for (const segment of segments.slice(1, -1)) {
    while (at + segment.length <= end && !isAt(segment, at)) at += 1;
    at += segment.length;
    if (at > end) return false;
  }
  return true;
}

/** `null` is a star. */
type Token = Test | null;

function tokenize(pattern: string): readonly Token[] {
  const expression = /\\(?<escaped>.)|(?<star>\*+)|(?<any>\?)|\[(?<not>[!^]?)(?<set>\]?[^\]]*)\]|(?<plain>[^])/gu;
  return Array.from(pattern.matchAll(expression), ({ groups = {} }) => token(groups));
}

function token(groups: Record<string, string | undefined>): Token {
  if (groups.star !== undefined) return null;
  if (groups.any !== undefined) return () => true;
  if (groups.set !== undefined) return classOf(groups.set, groups.not !== '');
  const wanted = groups.escaped ?? groups.plain;
  return (character) => character === wanted;
}

function classOf(set: string, negated: boolean): (character: string) => boolean {
  const ranges = Array.from(
    set.matchAll(/([^])-([^])|([^])/gu),
    ([, from, to, one]) => [from ?? one!, to ?? one!] as const,
  );
  return (character) => ranges.some(([from, to]) => from <= character && character <= to) !== negated;
}

/** `a{b,c}d` → `abd`, `acd`; nested braces, too. Each but once. */
function expandBraces(pattern: string): string[] {
  const pending = [pattern];
  const expanded = new Set<string>();
  for (let one = pending.pop(); one !== undefined; one = pending.pop()) {
    const found = /\{([^{}]*,[^{}]*)\}/.exec(one);
    if (found === null) expanded.add(one);
    else for (const choice of new Set(found[1]!.split(','))) pending.push(one.replace(found[0], () => choice));
    if (expanded.size + pending.length > mostAlternatives) throw tooMany();
  }
  return Array.from(expanded);
}

function tooMany(): AppError {
  return new AppError('invalid_argument', `glob must expand to at most ${mostAlternatives} patterns.`);
}

function tooSlow(): AppError {
  const message =
    'glob takes too long to match here; give it fewer alternatives and stars, or list less with path or depth.';
  return new AppError('invalid_argument', message);
}
