import { audited, type AuditSink, type AuditSubject } from '../sandbox/intercept/audit/audit.ts';
import { limited } from '../sandbox/intercept/limits/limited.ts';
import type { Limiter } from '../sandbox/intercept/limits/limiter.ts';
import type { OpenTerminals } from '../sandbox/intercept/limits/open-terminals.ts';
import { recorded, type RecordedOptions } from '../sandbox/intercept/recordings/recorded.ts';
import { metered, type WorkspaceMetrics } from '../sandbox/intercept/metered.ts';
import { guarded, type Policy } from '../sandbox/intercept/policy/policy.ts';
import type { SandboxRow, State } from '../state/state.ts';
import type { Workspace } from '../sandbox/ports/workspace.ts';

export interface Decorations {
  /** Absent: every command may run. */
  readonly policy?: Policy;
  /** Absent: nothing is audited. */
  readonly audit?: AuditSink;
  /** Absent: nothing is bounded per principal. */
  readonly limits?: { readonly limiter: Limiter; readonly terminals: OpenTerminals };
  /** Absent: nothing is recorded. */
  readonly recordings?: RecordedOptions;
  readonly metrics: WorkspaceMetrics;
  readonly subjectOf: (row: SandboxRow) => AuditSubject;
}

/** What stands between a caller and a sandbox. A refused command is counted and audited, too. */
export function decorator({ policy, audit, limits, recordings, metrics, subjectOf }: Decorations) {
  return (workspace: Workspace, row: SandboxRow): Workspace => {
    const taped = recordings ? recorded(workspace, recordings) : workspace;
    const bounded = limits ? limited(taped, limits.limiter, row.principal) : taped;
    const checked = policy ? guarded(bounded, policy) : bounded;
    const counted = metered(checked, metrics);
    const outer = audit ? audited(counted, audit, subjectOf(row)) : counted;
    limits?.terminals.enroll(outer, workspace);
    return outer;
  };
}

/** Hashes that tell a sandbox's owner and key apart without naming them, the same as on its container's labels. */
export function auditSubject(row: SandboxRow, state: Pick<State, 'digest'>): AuditSubject {
  return {
    sandbox: row.handle,
    principal: state.digest(row.principal),
    key: state.digest(`${row.principal}\0${row.scopeKind}\0${row.scopeId}`),
  };
}
