import type { Command } from './command.ts';
import type { ActiveCommand, CommandBrief, CommandPage, CommandResult } from '../../ports/workspace.ts';

const mostCharacters = 200;

/** The command for those who did not give it to the shell themselves. */
export function activeCommand(command: Command): ActiveCommand {
  const { begun, id, since, text } = command;
  return {
    commandId: id,
    command: text.length > mostCharacters ? `${text.slice(0, mostCharacters - 1)}…` : text,
    status: begun ? 'running' : 'queued',
    since: new Date(since).toISOString(),
  };
}

/** What keeps a command that waits for its turn. */
function behind(command: Command, current: Command | undefined): { behind?: ActiveCommand } {
  return command.shownStatus === 'queued' && current ? { behind: activeCommand(current) } : {};
}

/** The command as it stands: ended, running, or waiting behind `current`. */
export function commandResult(command: Command, current: Command | undefined): CommandResult {
  const { cause } = command;
  return {
    commandId: command.id,
    command: command.text,
    status: command.status === 'running' && cause ? (cause.code as CommandResult['status']) : command.shownStatus,
    exitCode: command.exitCode,
    stdout: command.stdout.shown,
    stderr: command.stderr.shown,
    executionTime: command.executionTime,
    cwd: command.cwd,
    ...(cause && { cause }),
    shellRestarted: command.shellRestarted,
    background: command.background,
    ...behind(command, current),
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

export function commandPage(
  command: Command,
  current: Command | undefined,
  { offset, errOffset, size }: PageRequest,
): CommandPage {
  const { cause } = command;
  return {
    commandId: command.id,
    command: command.text,
    status: command.shownStatus,
    exitCode: command.exitCode,
    stdout: command.stdout.kept.page(offset, size),
    stderr: command.stderr.kept.page(errOffset, size),
    executionTime: command.executionTime,
    cwd: command.cwd,
    ...(cause && { cause }),
    background: command.background,
    ...behind(command, current),
  };
}
