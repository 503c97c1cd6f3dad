import { z } from 'zod';
import type { ActiveCommand, RunOptions } from '../../../sandbox/ports/workspace.ts';
import { changes, reads } from '../annotations.ts';
import { wellFormed } from '../arguments.ts';
import { commandFields, commandText, shownCommand } from '../command-text.ts';
import { pageFields, pageText, showPages } from '../command-page.ts';
import { defineTool } from '../define-tool.ts';
import { newPortNotes } from '../new-ports.ts';
import { outputProgress } from '../output-progress.ts';
import { lastFrames } from '../../../lib/text.ts';
import type { ToolCall } from '../tool-call.ts';

const commandId = z.string().min(1).max(64).optional();
const raw = z
  .boolean()
  .optional()
  .describe('Keep terminal escape sequences and control characters, and every state of a progress bar in the text.');

const executeCommand = defineTool({
  name: 'execute_command',
  title: 'Run a command',
  description: `Run a bash command in your sandbox: a private Linux computer with one persistent shell. Directory, variables, functions, virtualenvs and background jobs stay for your next call, so cd and export work as at a terminal. Files live under /workspace.
A non-zero exit code is a normal result. Commands run one after another. A command that takes long: pass wait, the call returns early with status "running" (or "queued", with what runs before it) and a command_id for check_command and stop_command. A program that needs a keyboard or a screen (vim, top, a REPL, a password prompt): start_shell_session. To write a file with exact content: upload_file or edit_file.
Long output shows its first and its last part around a line that tells how many bytes are left out; write to a file what you need whole. Output that is not UTF-8 has each such byte as \\xNN and each backslash doubled, and stdout_encoding or stderr_encoding is "escaped". Terminal escapes are left out unless raw is true, and in the text what a carriage return wrote over; other control characters are shown as pictures like ␀.`,
  input: {
    command: wellFormed(z.string()).describe('Bash script, one line or many.'),
    timeout: z.number().positive().optional().describe('Seconds until the command is interrupted; the shell stays.'),
    wait: z.number().min(0).optional().describe('Seconds after which to return while the command goes on.'),
    raw,
  },
  annotations: changes({ destructive: true, openWorld: true }),
  async handle(args, call) {
    const { shell, ports } = await call.workspace();
    const result = await shell.run(args.command, runOptions(args, call));
    const shown = commandText(result);
    return {
      structured: commandFields(result),
      ...shownFrames(shown, args.raw),
      notes: [...(shown.notes ?? []), ...newPortNotes(call.previews && ports)],
      outcome: result.status,
    };
  },
});

/** A progress bar's last state alone, unless the text is wanted raw. */
function shownFrames<T extends { readonly text: string }>(result: T, raw = false) {
  return { ...result, text: raw ? result.text : lastFrames(result.text), raw };
}

function runOptions(args: { timeout?: number | undefined; wait?: number | undefined }, call: ToolCall): RunOptions {
  return {
    signal: call.signal,
    ...(args.timeout !== undefined && { timeout: args.timeout }),
    ...(args.wait !== undefined && { wait: args.wait }),
    ...(call.watched && {
      onOutput: outputProgress(call),
      onQueued: (place: number, behind?: ActiveCommand) =>
        call.report(0, `waiting for the shell at place ${place}${behind ? ` behind ${shownCommand(behind)}` : ''}`),
    }),
  };
}

const checkCommand = defineTool({
  name: 'check_command',
  title: 'Follow a running command',
  description:
    'Output, status and exit code of a command that execute_command left running, or of one that ended not long ago. Without command_id: of the command that runs, or else of the last one, also where its call was given up. Pass next_offset and next_stderr_offset of the last answer to get only what is new, and wait to sleep until there is news. Older output of a long command may be gone; the answer then says how many bytes.',
  input: {
    command_id: commandId.describe('The command_id of an execute_command result; the newest when left out.'),
    offset: z.int().min(0).optional().describe('Byte of stdout to begin at; 0 when left out.'),
    stderr_offset: z.int().min(0).optional().describe('Byte of stderr to begin at; 0 when left out.'),
    wait: z.number().min(0).max(300).optional().describe('Seconds to wait for new output or the end.'),
    raw,
  },
  annotations: reads({ idempotent: false }),
  async handle(args, call) {
    const { shell } = await call.workspace();
    const page = await shell.check(args.command_id, {
      offset: args.offset ?? 0,
      errOffset: args.stderr_offset ?? 0,
      signal: call.signal,
      ...(args.wait !== undefined && { wait: args.wait }),
    });
    const shown = showPages(page, pageLimit(call));
    return { structured: pageFields(page, shown), ...shownFrames(pageText(page, shown), args.raw) };
  },
});

const stopCommand = defineTool({
  name: 'stop_command',
  title: 'Stop a running command',
  description:
    'Signal a command that execute_command left running and wait a few seconds for its end. Without command_id: the command that runs. INT is Ctrl-C; TERM asks to end; KILL ends at once. The shell and its state stay.',
  input: {
    command_id: commandId.describe('The command_id of an execute_command result; what runs when left out.'),
    signal: z.enum(['INT', 'TERM', 'KILL']).optional().describe('INT when left out.'),
  },
  annotations: changes({ destructive: true, idempotent: true }),
  async handle(args, call) {
    const { shell } = await call.workspace();
    const page = await shell.stop(args.command_id, args.signal ?? 'INT');
    const shown = showPages(page, pageLimit(call));
    return { structured: pageFields(page, shown), ...shownFrames(pageText(page, shown)) };
  },
});

const getWorkingDirectory = defineTool({
  name: 'get_working_directory',
  title: 'Where the shell is',
  description: 'The directory the persistent shell is in. Every execute_command result tells it, too.',
  input: {},
  annotations: reads(),
  async handle(_args, call) {
    const { shell } = await call.workspace();
    const cwd = await shell.cwd();
    return { structured: { cwd }, text: cwd, status: ['working directory'] };
  },
});

const resetSession = defineTool({
  name: 'reset_session',
  title: 'Start over',
  description:
    'Start over when the shell is in a bad state. scope "shell" (default): a clean shell, without the old variables, functions and jobs; files and terminals stay. "container": a new container, which also ends terminals and undoes what was installed outside /workspace; files under /workspace stay. "workspace": an empty /workspace as well, which cannot be undone.',
  input: {
    scope: z.enum(['shell', 'container', 'workspace']).optional().describe('shell when left out.'),
  },
  annotations: changes({ destructive: true, idempotent: true }),
  async handle(args, call) {
    const scope = args.scope ?? 'shell';
    if (scope === 'shell') await (await call.workspace()).shell.reset();
    else await call.sandboxes.recreate(call.key, scope);
    return {
      structured: { scope, cwd: call.config.security.working_directory },
      text: resetTexts[scope],
      status: ['reset'],
    };
  },
});

const resetTexts = {
  shell: 'A clean shell runs; files and terminals are as they were.',
  container: 'A new container runs; files under /workspace are as they were.',
  workspace: 'A new container runs with an empty /workspace.',
};

function pageLimit(call: ToolCall): number {
  return call.config.shell.output_head + call.config.shell.output_tail;
}

export const commandTools = [executeCommand, checkCommand, stopCommand, getWorkingDirectory, resetSession];
