import { AppError } from '../../errors.ts';
import { mayUse, type Principal, type Scope } from '../../identity/key.ts';
import type { SandboxRow } from '../../state/state.ts';
import { newVolume } from './roster.ts';

export interface NewRow {
  readonly instance: string;
  readonly handle: string;
  readonly principal: Principal;
  readonly scope: Scope;
  /** Template names, the default first. */
  readonly templates: readonly string[];
  /** The template asked for; absent: the first that the principal may use. */
  readonly template?: string | undefined;
  /** Seconds until the sandbox ends; absent: it has no end. */
  readonly ttl?: number | undefined;
}

/** The row of a sandbox that is yet to start. Throws `invalid_argument` for a template the principal may not use. */
export function newRow({ instance, handle, principal, scope, templates, template, ttl }: NewRow): SandboxRow {
  const now = Date.now();
  return {
    handle,
    principal: principal.id,
    scopeKind: scope.kind,
    scopeId: 'id' in scope ? scope.id : '',
    template: chosen(templates, principal, template),
    volume: newVolume(instance, handle),
    state: 'idle',
    created: now,
    lastUsed: now,
    expires: ttl === undefined ? null : now + ttl * 1000,
    lost: [],
  };
}

function chosen(templates: readonly string[], principal: Principal, asked: string | undefined): string {
  const allowed = templates.filter((name) => mayUse(principal, name));
  const name = asked ?? allowed[0];
  if (name !== undefined && allowed.includes(name)) return name;
  const choice = allowed.length > 0 ? `one of ${allowed.join(', ')}` : 'a template your key may use (it has none)';
  throw new AppError('invalid_argument', `template: expected ${choice}, got ${JSON.stringify(asked ?? null)}.`);
}
