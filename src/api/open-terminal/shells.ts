import { Hono } from 'hono';
import { z } from 'zod';
import { AppError } from '../../errors.ts';
import type { Sandboxes } from '../../sandbox/sandboxes.ts';
import type { TerminalInfo } from '../../sandbox/ports/workspace.ts';
import { bodyOf, glanceOf, inSandbox, type PaneContext } from './call.ts';
import type { PaneEnv } from './env.ts';

/** By this command the Shell tab's terminals are told from those of the MCP tools, also after a restart. */
const shellTab = 'exec bash -i # Shell tab';

/** The Shell tab. A terminal outlives its page: the next tab gets the one that nobody watches. */
export function shellRoutes(sandboxes: Sandboxes): Hono<PaneEnv> {
  return new Hono<PaneEnv>()
    .post('/api/terminals', (c) => open(sandboxes, c))
    .get('/api/terminals', async (c) => c.json((await known(sandboxes, c)).map(shown)))
    .get('/api/terminals/user/output', (c) => userOutput(sandboxes, c))
    .post('/api/terminals/user/input', (c) => userInput(sandboxes, c))
    .get('/api/terminals/:id', async (c) => c.json(shown(await find(sandboxes, c))))
    .delete('/api/terminals/:id', async (c) => {
      const { sessionId } = await find(sandboxes, c);
      await inSandbox(sandboxes, c, ({ terminals }) => terminals.end(sessionId));
      return c.json({ status: 'deleted' });
    });
}

function shown({ sessionId, started }: TerminalInfo): object {
  return { id: sessionId, created_at: started, pid: null };
}

async function open(sandboxes: Sandboxes, c: PaneContext): Promise<Response> {
  return await inSandbox(sandboxes, c, async ({ terminals, shell }) => {
    const detached = (await terminals.list()).find((one) => isOurs(one) && one.watchers === 0);
    const info = detached ?? (await terminals.start({ command: shellTab, cwd: await shell.cwd() }));
    return c.json(shown(info));
  });
}

function isOurs({ command, exited }: TerminalInfo): boolean {
  return command === shellTab && !exited;
}

async function known(sandboxes: Sandboxes, c: PaneContext): Promise<TerminalInfo[]> {
  return ((await glanceOf(sandboxes, c)?.terminals.list()) ?? []).filter(isOurs);
}

async function find(sandboxes: Sandboxes, c: PaneContext): Promise<TerminalInfo> {
  const found = (await known(sandboxes, c)).find(({ sessionId }) => sessionId === c.req.param('id'));
  if (found) return found;
  throw new AppError('not_found', 'There is no such terminal.');
}

/** The newest of the shells that the user looks at. */
async function usersShell(sandboxes: Sandboxes, c: PaneContext): Promise<TerminalInfo> {
  const watched = (await known(sandboxes, c)).filter(({ watchers }) => watchers > 0);
  const newest = watched.toSorted((a, b) => a.started.localeCompare(b.started)).at(-1);
  if (newest) return newest;
  throw new AppError('not_found', 'The user has no shell open.');
}

async function userOutput(sandboxes: Sandboxes, c: PaneContext): Promise<Response> {
  const { sessionId } = await usersShell(sandboxes, c);
  const read = await inSandbox(sandboxes, c, ({ terminals }) => terminals.read(sessionId, { mode: 'snapshot' }));
  return c.json({ output: read.output });
}

async function userInput(sandboxes: Sandboxes, c: PaneContext): Promise<Response> {
  const { sessionId } = await usersShell(sandboxes, c);
  const { input } = await bodyOf(c, z.object({ input: z.string().min(1).max(1_000_000) }));
  // A keyboard has no newline: Enter is a carriage return.
  const typed = { input: input.replace(/\r?\n/g, '\r'), raw: true };
  await inSandbox(sandboxes, c, ({ terminals }) => terminals.send(sessionId, typed));
  return c.json({ status: 'ok' });
}
