/** Names of the settings that differ, in two levels: `server.port`, `templates.data`. Values are not told. */
export function changedSettings(before: object, after: object): string[] {
  return namesOf(before, after).flatMap((group) => {
    const [old, now] = [valueOf(before, group), valueOf(after, group)];
    const names = namesOf(old as object, now as object).filter(
      (name) => !isEqual(valueOf(old, name), valueOf(now, name)),
    );
    return names.map((name) => `${group}.${name}`);
  });
}

const namesOf = (...objects: readonly object[]): string[] => [...new Set(objects.flatMap((one) => Object.keys(one)))];

const valueOf = (object: unknown, name: string): unknown => (object as Record<string, unknown> | undefined)?.[name];

const isEqual = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
