import type { Command } from './command.ts';
import type { CommandBrief, CommandPage, CommandResult } from '../workspace.ts';

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

/** What a list says of a command. */
export function commandBrief(command: Command): CommandBrief {
  return {
    commandId: command.id,
    command: command.text,
    status: command.status,
    exitCode: command.exitCode,
    cwd: command.cwd,
    endedFor: command.endedFor,
    stdout: command.stdout.kept.total,
    stderr: command.stderr.kept.total,
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
