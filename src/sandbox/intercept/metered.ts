import { Counter, Histogram, type Registry } from 'prom-client';
import { AppError } from '../../errors.ts';
import { observed } from './observed.ts';
import type { CommandResult, CommandStatus, Workspace } from '../ports/workspace.ts';

/** What is counted of the calls on workspaces. Labels come from fixed sets: no id of a caller, a sandbox or a path is one. */
export interface WorkspaceMetrics {
  call(op: string, outcome: string, seconds: number): void;
  bytes(direction: 'in' | 'out', count: number): void;
}

/** Seconds. */
export const buckets = [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 1800];

/** Registers the counters; once per registry. */
export function workspaceMetrics(registry: Registry): WorkspaceMetrics {
  const registers = [registry];
  const durations = new Histogram({
    name: 'berth_workspace_call_duration_seconds',
    help: 'Calls on sandboxes by operation, a stream until its end.',
    labelNames: ['op'],
    buckets,
    registers,
  });
  const calls = new Counter({
    name: 'berth_workspace_calls_total',
    help: 'Calls on sandboxes by operation and outcome: ok, an error code, or a command status.',
    labelNames: ['op', 'outcome'],
    registers,
  });
  const bytes = new Counter({
    name: 'berth_workspace_bytes_total',
    help: 'Bytes of commands and files, into sandboxes and out of them.',
    labelNames: ['direction'],
    registers,
  });
  return {
    call(op, outcome, seconds) {
      durations.observe({ op }, seconds);
      calls.inc({ op, outcome });
    },
    bytes: (direction, count) => bytes.inc({ direction }, count),
  };
}

/** Counts every call on the workspace. */
export function metered(workspace: Workspace, metrics: WorkspaceMetrics): Workspace {
  return observed(workspace, ({ op }) => ({ ms, error, result, bytesIn, bytesOut }) => {
    metrics.call(op, outcomeOf(op, error, result), ms / 1000);
    metrics.bytes('in', bytesIn);
    metrics.bytes('out', bytesOut + outputOf(op, result));
  });
}

function outcomeOf(op: string, error: unknown, result: unknown): string {
  if (error !== undefined) return error instanceof AppError ? error.code : 'internal';
  return op.startsWith('shell.') ? ((result as { status?: CommandStatus } | undefined)?.status ?? 'ok') : 'ok';
}

/** Only of the call that ran the command, so that looking at it again counts nothing twice. */
function outputOf(op: string, result: unknown): number {
  if (op !== 'shell.run' || result === undefined) return 0;
  const { stdout, stderr } = result as CommandResult;
  return stdout.total + stderr.total;
}
