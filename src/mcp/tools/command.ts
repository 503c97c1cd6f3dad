import { z } from 'zod';
import type { CommandResult, RunOptions } from '../../sandbox/workspace.ts';
import { defineTool } from '../define-tool.ts';
import { commandText, commandFields } from '../command-text.ts';
import type { ToolCall } from '../tool-call.ts';

const executeCommand = defineTool({
  name: 'execute_command',
  title: 'Run a command',
  description: `Runs a bash command in your own sandbox: a private Linux computer with one persistent shell. The working directory, variables, functions, virtualenvs and background jobs stay for your next call, so \`cd\` and \`export\` work as at a terminal. Files live under /workspace.
A non-zero exit code is a normal result. Calls run one after another. For a long command give \`wait\`: the call returns early with status "running" and a command_id for check_command and stop_command. For programs that need a keyboard or a screen (vim, top, a REPL, a password prompt) use start_shell_session.
Long output shows its first and last part; bytes that are not UTF-8 come as \\xNN with backslashes doubled and *_encoding "escaped". Terminal escapes are left out of the text unless \`raw\` is true.`,
  input: {
    command: z.string().min(1).describe('Bash script to run, one line or many.'),
    timeout: z.number().positive().optional().describe('Seconds until the command is interrupted.'),
    wait: z.number().min(0).optional().describe('Seconds after which to return while the command goes on.'),
    raw: z.boolean().optional().describe('Keep terminal escape sequences in the text.'),
  },
  annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: false, openWorldHint: true },
  async handle(args, call) {
    const workspace = await call.workspace();
    const result = await workspace.shell.run(args.command, runOptions(args, call));
    return {
      structured: commandFields(result),
      ...commandText(result),
      raw: args.raw ?? false,
      outcome: result.status,
    };
  },
});

function runOptions(args: { timeout?: number | undefined; wait?: number | undefined }, call: ToolCall): RunOptions {
  return {
    signal: call.signal,
    ...(args.timeout !== undefined && { timeout: args.timeout }),
    ...(args.wait !== undefined && { wait: args.wait }),
  };
}

export const commandTools = [executeCommand];
export type { CommandResult };
