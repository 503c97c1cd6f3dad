import { Hono } from 'hono';
import { z } from 'zod';
import type { Config } from '../../config.ts';
import { AppError } from '../../errors.ts';
import type { Sandboxes } from '../../sandbox/sandboxes.ts';
import type { CommandBrief, CommandPage, CommandResult, CommandStatus, Output } from '../../sandbox/ports/workspace.ts';
import {
  absolute,
  bodyOf,
  flagOf,
  glanceOf,
  inSandbox,
  leaseOf,
  numberOf,
  optional,
  type PaneContext,
} from './call.ts';
import { BesideCommands, type BesideCommand } from './beside.ts';
import type { Directories } from './directories.ts';
import type { PaneEnv } from './env.ts';
import { pack, unpack } from './offsets.ts';

export interface ProcessOptions {
  readonly sandboxes: Sandboxes;
  readonly config: Config;
  readonly directories: Directories;
}

interface ProcessContext extends ProcessOptions {
  readonly beside: BesideCommands;
}

const defaultWait = 30;
const longestWait = 300;
/** Seconds that an ended command is still listed. */
const listedFor = 300;

const execRequest = z.object({
  command: z.string().min(1, 'expected a command, got an empty text'),
  cwd: optional(z.string().max(4096)),
  env: optional(z.record(z.string().regex(/^[A-Za-z_]\w*$/, 'expected names of variables'), z.string())),
});

const states: Record<CommandStatus, 'running' | 'done' | 'killed'> = {
  running: 'running',
  queued: 'running',
  success: 'done',
  error: 'done',
  timeout: 'killed',
  cancelled: 'killed',
  sandbox_lost: 'killed',
};

/** Commands in the shell that remembers, those of the panes' tools and those of MCP alike, and those beside it. */
export function processRoutes(options: ProcessOptions): Hono<PaneEnv> {
  const ctx = { ...options, beside: new BesideCommands() };
  return new Hono<PaneEnv>()
    .get('/execute', (c) => c.json(listOf(ctx, c)))
    .post('/execute', (c) => run(ctx, c))
    .get('/execute/:id/status', (c) => status(ctx, c))
    .post('/execute/:id/input', (c) => input(ctx, c))
    .delete('/execute/:id', (c) => kill(ctx, c));
}

function listOf({ sandboxes, beside }: ProcessContext, c: PaneContext): object[] {
  const glance = glanceOf(sandboxes, c);
  if (!glance) return [];
  const others = beside.of(glance.handle).filter(({ endedFor = 0 }) => endedFor <= listedFor);
  return [...listed(glance.shell.commands()), ...others.map(besideBrief)];
}

function besideBrief({ id, command, isRunning, wasKilled, exitCode }: BesideCommand) {
  const state = isRunning ? 'running' : wasKilled ? 'killed' : 'done';
  return { id, command, status: state, exit_code: exitCode, log_path: '' };
}

function listed(commands: readonly CommandBrief[]): object[] {
  return commands
    .filter((brief) => states[brief.status] === 'running' || (brief.endedFor ?? Infinity) <= listedFor)
    .map(({ commandId, command, status, exitCode }) => ({
      id: commandId,
      command,
      status: states[status],
      exit_code: exitCode,
      log_path: '',
    }));
}

async function run({ sandboxes, config, directories, beside }: ProcessContext, c: PaneContext): Promise<Response> {
  const { command, cwd, env } = await bodyOf(c, execRequest);
  const most = Math.min(longestWait, config.shell.max_timeout);
  const wait = Math.min(numberOf(c, 'wait', 0, longestWait, defaultWait), most);
  const tail = numberOf(c, 'tail', 1, 1e9, undefined);
  const script = cwd === undefined && env === undefined ? command : inSubshell(command, cwd, env);
  await using lease = await leaseOf(sandboxes, c);
  const { handle, shell } = lease.workspace;
  if (
    sandboxes
      .glance(c.get('key'))
      ?.shell.commands()
      .some((one) => states[one.status] === 'running')
  ) {
    const there = cwd === undefined ? await shell.cwd() : absolute(cwd);
    // Its own hold: it outlasts this call.
    const started = await beside.start(await leaseOf(sandboxes, c), besideScript(command, env), command, there);
    await started.within(wait);
    return c.json({ ...besideOf(started, 0, tail), note: besideNote });
  }
  const go = directories.take(handle);
  const text = go === undefined ? script : `cd -- ${quoted(go)} 2>/dev/null\n${script}`;
  // A tool call that is given up leaves its command to run: its list shows it.
  const result = await shell.run(text, { wait });
  return c.json(processOf(result, outputOf(result), pack(result.stdout.total, result.stderr.total), tail));
}

const besideNote =
  'The shell is busy with another command, so this one ran beside it: it does not know the variables of the shell, and leaves none.';

function besideScript(command: string, env: Record<string, string> = {}): string {
  return (
    Object.entries(env)
      .map(([name, value]) => `export ${name}=${quoted(value)}\n`)
      .join('') + command
  );
}

function besideOf(one: BesideCommand, offset: number, tail: number | undefined): object {
  const data = one.from(offset).toString();
  const output = data === '' ? [] : [{ type: 'output', data }];
  const shown = tail === undefined ? output : output.slice(-tail);
  return { ...besideBrief(one), cwd: one.cwd, output: shown, next_offset: one.total, truncated: false };
}

/** Its directory and variables are its own; a later command knows nothing of them. */
function inSubshell(command: string, cwd: string | undefined, env: Record<string, string> = {}): string {
  const go = cwd === undefined ? '' : `cd -- ${quoted(cwd)} || exit\n`;
  const set = Object.entries(env).map(([name, value]) => `export ${name}=${quoted(value)}\n`);
  return `(${go}${set.join('')}eval ${quoted(command)}\n)`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

type Entry = { readonly type: 'stdout' | 'stderr' | 'output'; readonly data: string };

function processOf(
  { commandId, command, cwd, status, exitCode }: CommandResult | CommandPage,
  output: readonly Entry[],
  next: number,
  tail: number | undefined,
): object {
  const shown = tail === undefined ? output : output.slice(-tail);
  const known = { id: commandId, command, cwd, status: states[status], exit_code: exitCode, log_path: '' };
  return { ...known, output: shown, next_offset: next, truncated: shown.length < output.length };
}

function outputOf({ stdout, stderr, cause }: CommandResult): Entry[] {
  const said = cause ? [entry('stderr', Buffer.from(`${cause.message}\n`))] : [];
  return [entry('stdout', shownBytes(stdout)), entry('stderr', shownBytes(stderr)), ...said].filter(
    ({ data }) => data !== '',
  );
}

function shownBytes({ head, tail, omitted }: Output): Buffer {
  const gap = omitted > 0 ? `\n[${omitted} bytes left out]\n` : '';
  return Buffer.concat([head, Buffer.from(gap), tail]);
}

/** A terminal shows it as it is: a line ends with a carriage return, too. */
function entry(type: Entry['type'], bytes: Uint8Array): Entry {
  return {
    type,
    data: Buffer.from(bytes)
      .toString()
      .replace(/(?<!\r)\n/g, '\r\n'),
  };
}

/** Reads nothing away: each reader keeps an offset. Without `wait` it counts as no use of the sandbox. */
async function status(ctx: ProcessContext, c: PaneContext): Promise<Response> {
  const { sandboxes, config } = ctx;
  const id = c.req.param('id') ?? '';
  const other = besideNamed(ctx, c);
  if (other) {
    await other.within(numberOf(c, 'wait', 0, longestWait, 0));
    return c.json(besideOf(other, numberOf(c, 'offset', 0, 1e15, 0), numberOf(c, 'tail', 1, 1e9, undefined)));
  }
  const glance = glanceOf(sandboxes, c);
  const brief = glance?.shell.commands().find(({ commandId }) => commandId === id);
  if (!glance || !brief) throw unknownProcess();
  const wait = Math.min(numberOf(c, 'wait', 0, longestWait, 0), config.shell.max_timeout);
  const from = unpack(numberOf(c, 'offset', 0, Number.MAX_SAFE_INTEGER, 0), { out: brief.stdout, err: brief.stderr });
  const look = { offset: from.out, errOffset: from.err, wait, signal: c.req.raw.signal };
  const page =
    wait > 0 ? await inSandbox(sandboxes, c, ({ shell }) => shell.check(id, look)) : await glance.shell.check(id, look);
  const output = [entry('stdout', page.stdout.bytes), entry('stderr', page.stderr.bytes)].filter(
    ({ data }) => data !== '',
  );
  const next = pack(page.stdout.next, page.stderr.next);
  return c.json(processOf(page, output, next, numberOf(c, 'tail', 1, 1e9, undefined)));
}

function besideNamed({ sandboxes, beside }: ProcessContext, c: PaneContext): BesideCommand | undefined {
  const glance = glanceOf(sandboxes, c);
  return glance ? beside.of(glance.handle).find(({ id }) => id === c.req.param('id')) : undefined;
}

async function input(ctx: ProcessContext, c: PaneContext): Promise<Response> {
  const other = besideNamed(ctx, c);
  const isRunning = other ? other.isRunning : states[known(ctx.sandboxes, c).status] === 'running';
  const { input: text } = await bodyOf(c, z.object({ input: z.string().max(1_000_000) }));
  if (!isRunning) throw new AppError('invalid_argument', 'The command has ended; it takes no input.');
  if (!other) {
    const why =
      'A command in the shell has no keyboard: run the program in the Shell tab, or give it its input by a pipe or a file.';
    throw new AppError('invalid_argument', why);
  }
  const typed = { input: expanded(text), raw: true };
  await inSandbox(ctx.sandboxes, c, ({ terminals }) => terminals.send(other.id, typed));
  return c.json({ status: 'ok' });
}

/** Models write escapes out: `\\n` is Enter, `\\x03` is Ctrl-C. */
function expanded(text: string): string {
  const codes = text.replace(/\\x([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  return codes.replace(/\\n|\r?\n/g, '\r').replaceAll('\\t', '\t');
}

async function kill(ctx: ProcessContext, c: PaneContext): Promise<Response> {
  const { sandboxes } = ctx;
  const other = besideNamed(ctx, c);
  if (other) {
    other.wasKilled = other.isRunning;
    await inSandbox(sandboxes, c, ({ terminals }) => terminals.end(other.id));
    return c.json({ status: 'killed' });
  }
  const { commandId } = known(sandboxes, c);
  const signal = flagOf(c, 'force') ? 'KILL' : 'TERM';
  await inSandbox(sandboxes, c, ({ shell }) => shell.stop(commandId, signal));
  return c.json({ status: 'killed' });
}

function known(sandboxes: Sandboxes, c: PaneContext): CommandBrief {
  const commands = glanceOf(sandboxes, c)?.shell.commands() ?? [];
  const found = commands.find(({ commandId }) => commandId === c.req.param('id'));
  if (found) return found;
  throw unknownProcess();
}

/** The same for a foreign one. */
function unknownProcess(): AppError {
  return new AppError('not_found', 'There is no such process.');
}
