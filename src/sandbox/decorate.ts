import { audited, type AuditSink, type AuditSubject } from './audit.ts';
import { metered, type WorkspaceMetrics } from './metrics.ts';
import { guarded, type Policy } from './policy.ts';
import type { SandboxRow, State } from './state.ts';
import type { Workspace } from './workspace.ts';

export interface Decorations {
  /** Absent: every command may run. */
  readonly policy?: Policy;
  /** Absent: nothing is audited. */
  readonly audit?: AuditSink;
  readonly metrics: WorkspaceMetrics;
  readonly subjectOf: (row: SandboxRow) => AuditSubject;
}

/** What stands between a caller and a sandbox. A refused command is counted and audited, too. */
export function decorator({ policy, audit, metrics, subjectOf }: Decorations) {
  return (workspace: Workspace, row: SandboxRow): Workspace => {
    const checked = policy ? guarded(workspace, policy) : workspace;
    const counted = metered(checked, metrics);
    return audit ? audited(counted, audit, subjectOf(row)) : counted;
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
