import { list, mapping, name, quote, Unfit, whole, type Kind } from './values.ts';

const shortest = 16;

/** A secret shared with another program. It never appears in a message or a listing. */
export const secret: Kind<string> = {
  expected: `a secret of at least ${shortest} characters`,
  secret: true,
  parse: (raw) => {
    if (typeof raw !== 'string' || raw.length < shortest) throw new Unfit();
    return raw;
  },
  show: () => '[set]',
};

/** What the members of a group may have, in place of what everybody may. */
export interface GroupRule {
  /** Template names; absent = all. Of several, `session.template` is the default one. */
  readonly templates?: readonly string[];
  /** Sandboxes at once; 0 = no bound of their own. */
  readonly sandboxes?: number;
}

/** A mapping from a group's name to what its members get; `*` is for whoever is in no other. */
export const groupRules: Kind<Readonly<Record<string, GroupRule>>> = {
  expected: 'a mapping of group names to {templates?, sandboxes?}',
  parse: (raw) => Object.fromEntries(mapping(raw).map(([group, rule]) => [group, groupRule(group, rule)])),
  show: (rules) => Object.keys(rules).join(', ') || '{}',
};

function groupRule(group: string, raw: unknown): GroupRule {
  if (raw === null || typeof raw !== 'object' || Array.isArray(raw))
    throw new Unfit(`, got no mapping for ${quote(group)}`);
  const { templates, sandboxes, ...rest } = raw as Record<string, unknown>;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw new Unfit(`; ${quote(group)} has the unknown key ${quote(unknown)}`);
  return {
    ...(templates !== undefined && { templates: list(name, 'template names').parse(templates) }),
    ...(sandboxes !== undefined && { sandboxes: whole().parse(sandboxes) }),
  };
}
