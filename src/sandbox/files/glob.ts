import { AppError } from '../../errors.ts';

const longestPattern = 1000;
const mostAlternatives = 100;

/**
 * A test for relative paths. `*` and `?` stay within a name, `**` spans directories, `[a-z]` and `{a,b}` do as in a
 * shell; a pattern without a slash is held against the name alone. No pattern takes exponential time.
 */
export function globMatcher(pattern: string): (path: string) => boolean {
  if (pattern === '' || pattern.length > longestPattern) {
    throw new AppError('invalid_argument', `glob must have 1 to ${longestPattern} characters; got ${pattern.length}.`);
  }
  const alternatives = expandBraces(pattern).map((one) => one.replace(/^\.?\//, '').split('/'));
  return (path) => {
    const names = path.split('/');
    return alternatives.some((parts) =>
      matchParts(parts.length === 1 && parts[0] !== '**' ? ['**', ...parts] : parts, names),
    );
  };
}

/** Whether a pattern reaches below the listed directory by itself. */
export function globIsDeep(pattern: string): boolean {
  return pattern.includes('/') || pattern.includes('**');
}

function matchParts(parts: readonly string[], names: readonly string[]): boolean {
  return backtrackOnce(
    parts.length,
    names.length,
    (p) => parts[p] === '**',
    (p, n) => matchName(parts[p]!, names[n]!),
  );
}

function matchName(pattern: string, name: string): boolean {
  const tokens = tokenize(pattern);
  const characters = Array.from(name);
  return backtrackOnce(
    tokens.length,
    characters.length,
    (t) => tokens[t] === '*',
    (t, c) => (tokens[t] as Exclude<Token, '*'>)(characters[c]!),
  );
}

/** Wildcard matching with one point of return, the last wildcard: never exponential. */
function backtrackOnce(
  patterns: number,
  items: number,
  isWild: (pattern: number) => boolean,
  matches: (pattern: number, item: number) => boolean,
): boolean {
  let p = 0;
  let wild = -1;
  let resume = 0;
  for (let i = 0; i < items;) {
    if (p < patterns && isWild(p)) [wild, resume, p] = [p, i, p + 1];
    else if (p < patterns && matches(p, i)) [p, i] = [p + 1, i + 1];
    else if (wild >= 0) [p, i, resume] = [wild + 1, resume + 1, resume + 1];
    else return false;
  }
  while (p < patterns && isWild(p)) p += 1;
  return p === patterns;
}

type Token = '*' | ((character: string) => boolean);

const cache = new Map<string, readonly Token[]>();

function tokenize(pattern: string): readonly Token[] {
  const known = cache.get(pattern);
  if (known !== undefined) return known;
  const tokens: Token[] = [];
  const expression = /\\(?<escaped>.)|(?<star>\*+)|(?<any>\?)|\[(?<not>[!^]?)(?<set>\]?[^\]]*)\]|(?<plain>[^])/gu;
  for (const { groups = {} } of pattern.matchAll(expression)) tokens.push(token(groups));
  if (cache.size >= 200) cache.clear();
  cache.set(pattern, tokens);
  return tokens;
}

function token(groups: Record<string, string | undefined>): Token {
  if (groups.star !== undefined) return '*';
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

/** `a{b,c}d` → `abd`, `acd`; nested braces, too. */
function expandBraces(pattern: string): string[] {
  const pending = [pattern];
  const expanded: string[] = [];
  for (let one = pending.pop(); one !== undefined; one = pending.pop()) {
    const found = /\{([^{}]*,[^{}]*)\}/.exec(one);
    if (found === null) expanded.push(one);
    else for (const choice of found[1]!.split(',')) pending.push(one.replace(found[0], () => choice));
    if (expanded.length + pending.length > mostAlternatives) throw tooMany();
  }
  return expanded;
}

function tooMany(): AppError {
  return new AppError('invalid_argument', `glob must expand to at most ${mostAlternatives} patterns.`);
}
