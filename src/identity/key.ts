/**
 * What a key is good for: `tools` (all of `/mcp`), `files` and `terminals` (their HTTP routes), `metrics`, and `read`
 * (the tools and file routes that change nothing).
 */
export const keyScopes = ['tools', 'files', 'terminals', 'metrics', 'read'] as const;
export type KeyScope = (typeof keyScopes)[number];

/** Who is calling, proved by the HTTP layer. */
export interface Principal {
  /** Stable, unique and never empty, e.g. `anonymous`, `key:3f9a…`, `user:…`. Never sent to a client. */
  readonly id: string;
  /** Template names the principal may use; absent = all. */
  readonly templates?: readonly string[];
  /** What his key is good for; absent = everything. */
  readonly scopes?: readonly KeyScope[];
  /** Sandboxes the principal may have at once, in place of the common limit; 0 = no limit of its own. */
  readonly sandboxes?: number;
  /** The id of the API key that proved him, or his application; absent: another proof. What he hands out ends with it. */
  readonly provedBy?: string;
  /** One of the users whom a shared connection serves; a call that names no conversation means his one sandbox. */
  readonly endUser?: true;
  /** Why the caller may look but not act: the sentence that each of his calls gets. */
  readonly refusal?: string;
}

/** Whether the principal may have sandboxes of the template. */
export function mayUse({ templates }: Principal, template: string): boolean {
  return templates?.includes(template) ?? true;
}

/** Which of the principal's sandboxes a call means. */
export type Scope =
  | { readonly kind: 'handle'; readonly id: string }
  | { readonly kind: 'conversation'; readonly id: string }
  | { readonly kind: 'session'; readonly id: string }
  | { readonly kind: 'default' };

/** What a sandbox belongs to. Two principals never share a key, whatever ids they send. */
export interface Key {
  readonly principal: Principal;
  readonly scope: Scope;
}
