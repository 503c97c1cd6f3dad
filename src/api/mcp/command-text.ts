import {
  isOpen,
  type ActiveCommand,
  type Cause,
  type CommandResult,
  type CommandStatus,
  type Output,
} from '../../sandbox/ports/workspace.ts';
import { cutAtEnd, cutAtStart, decodeBytes, type TextEncoding } from '../../lib/bytes.ts';
import { grouped, lines, omissionLine, oneLine, seconds } from '../../lib/text.ts';

export interface ShownOutput {
  readonly text: string;
  readonly encoding: TextEncoding;
  readonly omitted: number;
  readonly total: number;
}

/** A stream as one string: its head, the exact omission line, its tail. */
export function showOutput(output: Output): ShownOutput {
  const cut = output.omitted > 0;
  const head = cut ? output.head.subarray(0, output.head.length - cutAtEnd(output.head)) : output.head;
  const tail = cut ? output.tail.subarray(cutAtStart(output.tail)) : output.tail;
  const omitted = output.omitted + (output.head.length - head.length) + (output.tail.length - tail.length);
  const [first, last] = decodeBytes(head, tail) as [{ text: string; encoding: TextEncoding }, { text: string }];
  const text = cut ? lines(first.text, omissionLine(omitted), last.text) : first.text + last.text;
  return { text, encoding: first.encoding, omitted, total: output.total };
}

/** The structured fields of a command's result. */
export function commandFields(result: CommandResult): Record<string, unknown> {
  const stdout = showOutput(result.stdout);
  const stderr = showOutput(result.stderr);
  return {
    status: result.status,
    exit_code: result.exitCode,
    stdout: stdout.text,
    stderr: stderr.text,
    stdout_encoding: stdout.encoding,
    stderr_encoding: stderr.encoding,
    command: result.command,
    command_id: result.commandId,
    execution_time: result.executionTime,
    cwd: result.cwd,
    truncated: stdout.omitted + stderr.omitted > 0,
    stdout_size: stdout.total,
    stderr_size: stderr.total,
    ...(result.cause && { cause: result.cause.code, cause_message: result.cause.message }),
    ...(result.shellRestarted && { shell_restarted: true }),
    ...(result.background && { background: true }),
    ...(result.behind && { behind: activeFields(result.behind) }),
  };
}

export function activeFields({ commandId, command, status, since }: ActiveCommand): Record<string, unknown> {
  return { command_id: commandId, command, status, since };
}

/** `cmd_1 (running since 2026-01-02T03:04:05.678Z): make all`. */
export function shownCommand({ commandId, command, status, since }: ActiveCommand): string {
  return `${commandId} (${status} since ${since}): ${oneLine(command)}`;
}

/** The same for a reader. */
export function commandText(result: CommandResult) {
  const stdout = showOutput(result.stdout);
  const stderr = showOutput(result.stderr);
  return {
    text: twoStreams(stdout.text, stderr.text),
    notes: commandNotes(result, [stdout, stderr]),
    status: commandStatus(result),
  };
}

/** Both streams, labelled where there are both. */
export function twoStreams(stdout: string, stderr: string): string {
  if (stdout === '' || stderr === '') return stdout + stderr;
  return lines('[stdout]', stdout, '[stderr]', stderr);
}

function commandNotes(result: CommandResult, shown: readonly ShownOutput[]): string[] {
  const dropped = result.stdout.dropped + result.stderr.dropped;
  const { commandId, cause, shellRestarted, background } = result;
  return [
    cause?.message,
    shellRestarted &&
      'the shell ended and was started again with its directory, and with its variables and functions as far as they fit in 1 MiB; shell_restarted',
    ...openNotes(result),
    background && result.status !== 'running' && `${backgroundNote}; check_command ${commandId} shows what they write`,
    shown.some((stream) => stream.encoding === 'escaped') && escapedNote,
    dropped > 0 && `${grouped(dropped)} bytes of output were lost while nobody read them`,
  ].filter((note) => typeof note === 'string');
}

export const backgroundNote = 'processes of this command still run in the background';

/** What a command waits for. */
export function openNotes({ behind }: { readonly behind?: ActiveCommand }): string[] {
  return behind ? [`this command has not begun; the shell runs ${shownCommand(behind)}`] : [];
}

export const escapedNote = 'the output is not UTF-8: bytes are shown as \\xNN and backslashes are doubled';

interface Ended {
  readonly commandId: string;
  readonly status: CommandStatus;
  readonly exitCode: number | null;
  readonly executionTime: number;
  readonly cwd: string;
  readonly cause?: Cause;
}

/** `exit 0 · 0.05 s · /workspace`, and before it what is not told by the exit code. */
export function commandStatus(result: Ended): string[] {
  const ended = result.status === 'success' || result.status === 'error';
  const word = ended
    ? []
    : isOpen(result.status)
      ? [`${result.status} · command_id ${result.commandId}`]
      : [result.status];
  const exit = result.exitCode === null ? [] : [`exit ${result.exitCode}`];
  return [...word, ...exit, seconds(result.executionTime), result.cwd];
}
