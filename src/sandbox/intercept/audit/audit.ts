import { createHash } from 'node:crypto';
import { AppError } from '../../../errors.ts';
import type { AuditFields } from './chain.ts';
import type { AuditSink } from './log.ts';
import { callContext } from '../../call-context.ts';
import { observed, type WorkspaceCall, type WorkspaceEnd } from '../observed.ts';
import type { CommandPage, CommandResult, Workspace } from '../../ports/workspace.ts';

export { verifyAudit, type AuditFields, type AuditVerdict } from './chain.ts';
export { AuditLog, verifyAuditFiles, type AuditLogOptions, type AuditSink } from './log.ts';

/** Whose sandbox it is, as hashes: an audit log names nobody. */
export interface AuditSubject {
  readonly sandbox: string;
  readonly principal: string;
  readonly key: string;
}

/** Writes one line per call. It holds a digest of the arguments, not their text: no command, path or secret is in it. */
export function audited(workspace: Workspace, sink: AuditSink, subject: AuditSubject): Workspace {
  return observed(workspace, (call) => {
    const context = callContext();
    const asked = { ...subject, request: context?.requestId, tool: context?.tool, op: call.op, ...digested(call) };
    return (end) => sink.write({ event: 'call', ...asked, ...outcomeOf(end) });
  });
}

/** Writes one line for what happens to a sandbox itself: `sandbox.started`, `sandbox.idled`, `sandbox.ended`, … */
export function auditSandbox(
  sink: AuditSink,
  event: string,
  subject: AuditSubject,
  more: AuditFields = {},
): Promise<void> {
  const context = callContext();
  return sink.write({ event, ...subject, request: context?.requestId, tool: context?.tool, ...more });
}

/** `sha256` of the arguments as JSON, so that a claimed call can be compared with what was called. */
function digested({ args }: WorkspaceCall) {
  const text = JSON.stringify(args);
  return { args: createHash('sha256').update(text).digest('hex'), args_bytes: Buffer.byteLength(text) };
}

function outcomeOf({ ms, error, result, bytesIn, bytesOut }: WorkspaceEnd): AuditFields {
  const outcome = error === undefined ? 'ok' : codeOf(error);
  const command = isCommand(result) ? commandFields(result) : {};
  return { outcome, bytes_in: bytesIn, bytes_out: bytesOut, ...command, ms: Math.round(ms) };
}

const codeOf = (error: unknown): string => (error instanceof AppError ? error.code : 'internal');

type Command = CommandResult | CommandPage;

function isCommand(result: unknown): result is Command {
  return typeof result === 'object' && result !== null && 'commandId' in result && 'exitCode' in result;
}

function commandFields({ commandId, status, exitCode, cause, stdout, stderr }: Command) {
  const bytes = stdout.total + stderr.total;
  return { command: commandId, outcome: status, exit_code: exitCode, cause: cause?.code, bytes_out: bytes };
}
