import type { Command } from './command.ts';
import type { CommandPage, CommandResult } from '../workspace.ts';

/** The command as it stands: ended, or still running. */
export function commandResult(command: Command): CommandResult {
  const { cause } = command;
  return {
    commandId: command.id,
    command: command.text,
    status: command.status === 'running' && cause ? (cause.code as CommandResult['status']) : command.status,
    exitCode: command.exitCode,
    stdout: command.stdout.shown,
    stderr: command.stderr.shown,
    executionTime: command.executionTime,
    cwd: command.cwd,
    ...(cause && { cause }),
    shellRestarted: command.shellRestarted,
    background: command.background,
  };
}

export interface PageRequest {
  readonly offset: number;
  readonly errOffset: number;
  /** Bytes of each stream at most. */
  readonly size: number;
}

export function commandPage(command: Command, { offset, errOffset, size }: PageRequest): CommandPage {
  const { cause } = command;
  return {
    commandId: command.id,
    command: command.text,
    status: command.status,
    exitCode: command.exitCode,
    stdout: command.stdout.kept.page(offset, size),
    stderr: command.stderr.kept.page(errOffset, size),
    executionTime: command.executionTime,
    cwd: command.cwd,
    ...(cause && { cause }),
    background: command.background,
  };
}
