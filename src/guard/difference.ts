/**
 * Where a value from outside departs from Berth's own, as a path like `HostConfig.Privileged`; `undefined` where the two
 * are the same JSON. A key that only one of them has is a difference, whatever its value.
 */
export function difference(given: unknown, own: unknown, path = ''): string | undefined {
  if (!isObject(given) || !isObject(own)) return Object.is(given, own) ? undefined : path || 'the body';
  if (Array.isArray(given) !== Array.isArray(own)) return path || 'the body';
  for (const key of new Set([...Object.keys(given), ...Object.keys(own)])) {
    const at = path ? `${path}.${shown(key)}` : shown(key);
    if (!Object.hasOwn(given, key) || !Object.hasOwn(own, key)) return at;
    const found = difference(given[key], own[key], at);
    if (found) return found;
  }
  return undefined;
}

/** A key that came from outside, in a sentence. */
function shown(key: string): string {
  return key.replace(/[^\w./-]/g, '?').slice(0, 60);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
