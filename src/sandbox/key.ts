/** Who is calling, proved by the HTTP layer. */
export interface Principal {
  /** Stable and unique, e.g. `anonymous`, `key:3f9a…`, `user:…`. Never sent to a client. */
  readonly id: string;
  /** Template names the principal may use; absent = all. */
  readonly templates?: readonly string[];
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
