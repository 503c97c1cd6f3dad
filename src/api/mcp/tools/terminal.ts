import { z } from 'zod';
import { AppError } from '../../../errors.ts';
import type { SentInput, TerminalInfo, TerminalRead } from '../../../sandbox/ports/workspace.ts';
import { changes, reads } from '../annotations.ts';
import { wellFormed } from '../arguments.ts';
import { defineTool } from '../define-tool.ts';
import { grouped } from '../../../lib/text.ts';

const sessionId = z.string().min(1).max(128).describe('The sessionId of start_shell_session.');
const cols = z.int().min(2).max(1000);
const rows = z.int().min(1).max(500);
const maxBytes = 1024 * 1024;

const startShellSession = defineTool({
  name: 'start_shell_session',
  title: 'Open a terminal',
  description:
    'Open an interactive terminal in the sandbox, for what needs a keyboard or a screen: vim, top, less, a REPL, ssh, a program that asks questions, a dev server to watch. Type with send_shell_input, look with read_shell_output, close with end_shell_session. For plain commands execute_command is simpler and gives exit codes.',
  input: {
    cols: cols.optional().describe('Columns; 80 when left out.'),
    rows: rows.optional().describe('Rows; 24 when left out.'),
    command: wellFormed(z.string().min(1).max(65536))
      .optional()
      .describe('Program to run; an interactive bash when left out.'),
    cwd: wellFormed(z.string().min(1).max(4096))
      .optional()
      .describe('Directory to start in; /workspace when left out.'),
  },
  annotations: changes({ openWorld: true }),
  async handle(args, call) {
    const { terminals } = await call.workspace();
    const { cols, rows, command, cwd } = args;
    const info = await terminals.start({
      ...(cols !== undefined && { cols }),
      ...(rows !== undefined && { rows }),
      ...(command !== undefined && { command }),
      ...(cwd !== undefined && { cwd }),
    });
    return {
      structured: { ...info },
      text: `Terminal ${info.sessionId} is open; sessionId ${info.sessionId}.`,
      status: ['terminal', `${info.cols}×${info.rows}`, info.command],
    };
  },
});

const sendShellInput = defineTool({
  name: 'send_shell_input',
  title: 'Type into a terminal',
  description:
    'Type into a terminal. input is sent with a newline added if it ends without one; raw true sends it as it is. Input of several lines or with tabs goes in as one paste where the program takes pastes (the prompt of a shell, an editor), so that tabs do not complete. keys are pressed after input, by name: enter, tab, escape, up, down, left, right, home, end, pageup, pagedown, backspace, delete, insert, f1 to f12, ctrl-a to ctrl-z, alt-x. Then look with read_shell_output.',
  input: {
    sessionId,
    input: wellFormed(z.string().max(1_000_000)).optional().describe('Text to type.'),
    raw: z.boolean().optional().describe('Add no newline.'),
    keys: z.array(z.string().min(1).max(32)).max(1000).optional().describe('Keys to press, e.g. ["escape", "ctrl-c"].'),
  },
  annotations: changes({ destructive: true, openWorld: true }),
  async handle(args, call) {
    const { input, raw, keys } = args;
    if (input === undefined && !keys?.length)
      throw new AppError(
        'invalid_argument',
        '`input` or `keys` is required by send_shell_input: expected one of them, got neither.',
      );
    const { terminals } = await call.workspace();
    const sent = await terminals.send(args.sessionId, {
      ...(input !== undefined && { input }),
      ...(raw !== undefined && { raw }),
      ...(keys !== undefined && { keys }),
    });
    const { pasted } = sent;
    return {
      structured: { sessionId: args.sessionId, sent: true, pasted },
      notes: sentNotes(sent),
      status: [pasted ? 'pasted' : 'sent'],
    };
  },
});

function sentNotes({ longLine }: SentInput): string[] {
  if (longLine === null) return [];
  return [
    `a line of ${grouped(longLine)} bytes was typed; unless the program reads single keys, the kernel keeps the first 4,095 of a line and drops the rest: send long text with upload_file`,
  ];
}

const readShellOutput = defineTool({
  name: 'read_shell_output',
  title: 'Look at a terminal',
  description:
    'What a terminal shows. mode "snapshot": the screen as a person sees it, for full-screen programs. mode "streaming": the output since your last read. Left out: streaming; snapshot while a full-screen program holds the screen; and once the cursor has moved freely, as with top or clear, the screen with the lines above it since your last read. wait sleeps for output, until waits for a regular expression to match it (like a prompt) for at most wait seconds. What you typed is echoed and can match, too: wait for what only the answer has, such as a prompt at the end (\\$ $). The text leaves out escape codes unless raw is true.',
  input: {
    sessionId,
    mode: z.enum(['streaming', 'snapshot']).optional(),
    maxBytes: z.int().min(1).max(maxBytes).optional().describe('Most bytes of a streaming read; 102400 when left out.'),
    snapshotSize: z.int().min(1).max(maxBytes).optional().describe('Most bytes of a snapshot.'),
    wait: z.number().min(0).max(300).optional().describe('Seconds to wait; with until 10 when left out.'),
    until: z
      .string()
      .min(1)
      .max(1000)
      .optional()
      .describe('Regular expression to wait for (RE2: no look-around, no back-references).'),
    raw: z.boolean().optional().describe('Keep terminal escape sequences in the text.'),
  },
  annotations: reads({ idempotent: false }),
  async handle(args, call) {
    const { terminals } = await call.workspace();
    const { mode, maxBytes = 102_400, snapshotSize, until } = args;
    const wait = args.wait ?? (until === undefined ? undefined : Math.min(10, call.config.shell.max_timeout));
    const read = await terminals.read(args.sessionId, {
      maxBytes,
      signal: call.signal,
      ...(mode !== undefined && { mode }),
      ...(snapshotSize !== undefined && { snapshotSize }),
      ...(wait !== undefined && { wait }),
      ...(until !== undefined && { until }),
    });
    return {
      structured: { output: read.output, metadata: readMetadata(read) },
      text: read.output,
      notes: readNotes(read),
      status: readStatus(read),
      raw: args.raw ?? false,
    };
  },
});

function readMetadata(read: TerminalRead): Record<string, unknown> {
  const { output: _, ...metadata } = read;
  return metadata;
}

function readNotes(read: TerminalRead): string[] {
  return [
    read.truncated && `only a part of ${grouped(read.originalSize)} bytes is shown`,
    read.dropped > 0 && `${grouped(read.dropped)} bytes were lost because nobody read them`,
    read.matched === false && '`until` did not match in time',
  ].filter((note) => typeof note === 'string');
}

function readStatus({ mode, size, cursor, exited, exitCode }: TerminalRead): string[] {
  const screen = mode === 'snapshot' ? [`cursor row ${cursor.row} col ${cursor.col}`] : [];
  return [mode, `${size.cols}×${size.rows}`, ...screen, exited ? `exited ${exitCode ?? 'without a code'}` : 'open'];
}

const resizeShellSession = defineTool({
  name: 'resize_shell_session',
  title: 'Resize a terminal',
  description: 'Give a terminal another size, in columns and rows; programs in it redraw.',
  input: { sessionId, cols: cols.describe('Columns.'), rows: rows.describe('Rows.') },
  annotations: changes({ idempotent: true }),
  async handle(args, call) {
    const { terminals } = await call.workspace();
    await terminals.resize(args.sessionId, args.cols, args.rows);
    const { sessionId, cols, rows } = args;
    return { structured: { sessionId, cols, rows }, status: ['resized', `${cols}×${rows}`] };
  },
});

const listShellSessions = defineTool({
  name: 'list_shell_sessions',
  title: 'List open terminals',
  description: 'The terminals open in the sandbox, with their sessionId, program and size. Starts no sandbox.',
  input: {},
  annotations: reads(),
  async handle(_args, call) {
    const status = await call.sandboxes.status(call.key);
    const sessions = status?.state === 'running' ? await (await call.workspace()).terminals.list() : [];
    return {
      structured: { sessions },
      text: sessions.map(terminalLine).join('\n'),
      status: [sessions.length === 1 ? '1 terminal' : `${sessions.length} terminals`],
    };
  },
});

function terminalLine({ sessionId, command, cols, rows, exited, exitCode }: TerminalInfo): string {
  return `${sessionId}  ${cols}×${rows}  ${exited ? `exited ${exitCode}` : 'open'}  ${command}`;
}

const endShellSession = defineTool({
  name: 'end_shell_session',
  title: 'Close a terminal',
  description: 'Close a terminal and end what runs in it; what it printed is gone with it.',
  input: { sessionId },
  annotations: changes({ destructive: true }),
  async handle(args, call) {
    const { terminals } = await call.workspace();
    const info = await terminals.end(args.sessionId);
    return {
      structured: { ...info },
      text: `Terminal ${info.sessionId} is closed.`,
      status: ['closed', `exit ${info.exitCode}`],
    };
  },
});

export const terminalTools = [
  startShellSession,
  sendShellInput,
  readShellOutput,
  resizeShellSession,
  listShellSessions,
  endShellSession,
];
