import type { Config } from '../config.ts';
import type { Principal } from './key.ts';

/** What the members of these groups may have. */
export type GroupPolicy = (groups: readonly string[]) => Pick<Principal, 'templates' | 'sandboxes'>;

/** Several groups add up: all their templates, the highest bound. `*` is for whoever is in none of those named. */
export function groupPolicy(rules: Config['auth']['groups']): GroupPolicy {
  return (groups) => {
    const own = groups.filter((group) => group !== '*' && Object.hasOwn(rules, group)).map((group) => rules[group]);
    const applied = (own.length > 0 ? own : [rules['*']]).filter((rule) => rule !== undefined);
    if (applied.length === 0) return {};
    const templates = applied.flatMap((rule) => rule.templates ?? []);
    const bounds = applied.flatMap((rule) => rule.sandboxes ?? []);
    return {
      ...(applied.every((rule) => rule.templates) && { templates: [...new Set(templates)] }),
      ...(bounds.length > 0 && { sandboxes: bounds.includes(0) ? 0 : Math.max(...bounds) }),
    };
  };
}
