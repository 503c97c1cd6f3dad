import { posix } from 'node:path';
import { Hono } from 'hono';
import { getMimeType } from 'hono/utils/mime';
import { z } from 'zod';
import type { Config } from '../../config.ts';
import { AppError } from '../../errors.ts';
import { streamOf } from '../http/body-stream.ts';
import { Watchdog } from '../http/watchdog.ts';
import type { Sandboxes } from '../../sandbox/sandboxes.ts';
import type { FilesPort, OpenFile } from '../../sandbox/ports/workspace.ts';
import {
  absolute,
  bodyOf,
  glanceOf,
  home,
  ifThere,
  inSandbox,
  leaseOf,
  moving,
  needed,
  numberOf,
  optional,
  type PaneContext,
} from './call.ts';
import type { Directories } from './directories.ts';
import type { PaneEnv } from './env.ts';
import { detail } from './errors.ts';
import { listing } from './listing.ts';
import { fileField } from './multipart.ts';
import { replaceAll } from './replace.ts';
import { globbed, searched } from './search.ts';

export interface PaneFilesContext {
  readonly sandboxes: Sandboxes;
  readonly config: Config;
  readonly directories: Directories;
}

/** Milliseconds a transfer may stand still. */
const patience = 120_000;
/** Bytes of a text that is read into an answer. */
const longestText = 8 * 1024 * 1024;
/** Open WebUI's proxy holds back what is not of a few types: text above this is sent as one of them. */
const longestHeldBack = 1024 * 1024;

export function paneFiles(ctx: PaneFilesContext): Hono<PaneEnv> {
  const { sandboxes } = ctx;
  return new Hono<PaneEnv>()
    .get('/files/cwd', (c) => cwd(ctx, c))
    .post('/files/cwd', (c) => choose(ctx, c))
    .get('/files/list', (c) => list(sandboxes, c))
    .get('/files/read', (c) => read(sandboxes, c))
    .get('/files/display', (c) => display(sandboxes, c))
    .get('/files/view', (c) => view(sandboxes, c, needed(c, 'path')))
    .get('/files/serve/*', (c) => view(sandboxes, c, servedPath(c)))
    .post('/files/write', (c) => write(sandboxes, c))
    .post('/files/replace', (c) => replace(sandboxes, c))
    .post('/files/upload', (c) => upload(ctx, c))
    .get('/files/search', (c) =>
      ifThere(
        sandboxes,
        c,
        () => c.json({ results: [] }),
        ({ files }) => searched(files, c),
      ),
    )
    .get('/files/glob', (c) =>
      ifThere(
        sandboxes,
        c,
        () => c.json({ pattern: needed(c, 'pattern'), path: home, matches: [], truncated: false }),
        ({ files }) => globbed(files, c),
      ),
    );
}

async function cwd({ sandboxes, directories }: PaneFilesContext, c: PaneContext): Promise<Response> {
  const glance = glanceOf(sandboxes, c);
  const shell = glance && (directories.peek(glance.handle) ?? (await glance.shell.cwd()));
  return c.json({ cwd: shell ?? home, home, root: { path: home, label: 'Workspace' } });
}

/** Nothing is started for it: where no sandbox runs, there is no shell that could go. */
async function choose({ sandboxes, directories }: PaneFilesContext, c: PaneContext): Promise<Response> {
  const { path } = await bodyOf(c, z.object({ path: z.string().min(1).max(4096) }));
  const directory = absolute(path);
  const glance = glanceOf(sandboxes, c);
  if (glance) {
    const { type } = await glance.files.stat(directory);
    if (type !== 'directory') throw new AppError('not_found', `There is no directory ${directory.slice(0, 200)}.`);
    directories.choose(glance.handle, directory, await glance.shell.cwd());
  }
  return c.json({ cwd: directory });
}

async function list(sandboxes: Sandboxes, c: PaneContext): Promise<Response> {
  const directory = absolute(c.req.query('directory') || '.');
  const nothing = () => {
    if (directory === home) return c.json({ dir: home, writable: true, entries: [] });
    return detail(404, 'There is no such directory.');
  };
  return await ifThere(sandboxes, c, nothing, async ({ files }) => c.json(await listing(files, directory)));
}

async function display(sandboxes: Sandboxes, c: PaneContext): Promise<Response> {
  const path = absolute(needed(c, 'path'));
  const nothing = () => c.json({ path, exists: false });
  return await ifThere(sandboxes, c, nothing, async ({ files }) => {
    const stat = await files.stat(path).catch(notFound);
    return c.json({ path, exists: stat !== undefined });
  });
}

function notFound(error: unknown): undefined {
  if (error instanceof AppError && error.code === 'not_found') return undefined;
  throw error;
}

/** Instructions that Open WebUI reads before every message: they wake nothing. */
const instructions = `${home}/AGENTS.md`;

async function read(sandboxes: Sandboxes, c: PaneContext): Promise<Response> {
  const path = absolute(needed(c, 'path'));
  const nothing = () => detail(404, 'File not found.');
  if (path !== instructions) return await ifThere(sandboxes, c, nothing, ({ files }) => readFile(files, path, c));
  const glance = glanceOf(sandboxes, c);
  return glance ? await readFile(glance.files, path, c) : nothing();
}

async function readFile(files: Pick<FilesPort, 'open'>, path: string, c: PaneContext): Promise<Response> {
  await using file = await files.open(path, c.req.raw.signal);
  if (file.stat.type !== 'file') throw new AppError('not_found', 'File not found.');
  if (file.stat.size > longestText) {
    throw new AppError(
      'too_large',
      `The file has ${file.stat.size} bytes; at most ${longestText} can be read at once.`,
    );
  }
  const bytes = await new Response(file.read() as BodyInit).bytes();
  const type = getMimeType(path) ?? '';
  if (type.startsWith('image/') && type !== 'image/svg+xml')
    return new Response(bytes, { headers: { 'content-type': type } });
  const text = textOf(bytes);
  if (text === undefined) return detail(415, `The file is not text: ${type || 'unknown type'}, ${bytes.length} bytes.`);
  const lines = text.split(/(?<=\n)/).filter((line) => line !== '');
  const first = numberOf(c, 'start_line', 1, 1e9, 1);
  const last = numberOf(c, 'end_line', 1, 1e9, lines.length);
  return c.json({ path, content: lines.slice(first - 1, last).join(''), total_lines: lines.length });
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return text.includes('\0') ? undefined : text;
  } catch {
    return undefined;
  }
}

/** A page of a preview may run its scripts, and is nobody to the chat application whose origin it comes through. */
const policy = 'sandbox allow-scripts allow-forms allow-popups';

async function view(sandboxes: Sandboxes, c: PaneContext, given: string): Promise<Response> {
  const path = absolute(given);
  if (!sandboxes.has(c.get('key'))) return detail(404, 'File not found.');
  return await moving(sandboxes, c, async ({ lease, signal, held, body }) => {
    const file = held.use(await lease.workspace.files.open(path, signal));
    if (file.stat.type !== 'file') throw new AppError('not_found', 'File not found.');
    return new Response(body(file.read()), { headers: viewHeaders(file) });
  });
}

function viewHeaders({ stat }: OpenFile): Record<string, string> {
  const type = getMimeType(stat.path) ?? 'application/octet-stream';
  const isStreamed = /^(image\/|application\/(pdf|octet-stream)$)/.test(type);
  return {
    'content-type': isStreamed || stat.size <= longestHeldBack ? type : 'application/octet-stream',
    'content-length': String(stat.size),
    'content-security-policy': policy,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cache-control': 'private, no-cache',
  };
}

function servedPath(c: PaneContext): string {
  const [, raw = ''] = /\/files\/serve\/(.*)$/s.exec(new URL(c.req.url).pathname) ?? [];
  try {
    return `/${decodeURIComponent(raw)}`;
  } catch (cause) {
    throw new AppError('invalid_argument', 'The path must be percent-encoded UTF-8.', { cause });
  }
}

const writeRequest = z.object({ path: z.string().min(1).max(4096), content: z.string() });

async function write(sandboxes: Sandboxes, c: PaneContext): Promise<Response> {
  const { path, content } = await bodyOf(c, writeRequest);
  return await inSandbox(sandboxes, c, async ({ files }) => {
    const written = await files.write(absolute(path), new Blob([content]).stream(), { signal: c.req.raw.signal });
    return c.json({ path: written.path, size: written.size });
  });
}

const replaceRequest = z.object({
  path: z.string().min(1).max(4096),
  replacements: z
    .array(
      z.object({
        target: z.string().min(1),
        replacement: z.string(),
        start_line: optional(z.int().min(1)),
        end_line: optional(z.int().min(1)),
        allow_multiple: optional(z.boolean()),
      }),
    )
    .min(1),
});

async function replace(sandboxes: Sandboxes, c: PaneContext): Promise<Response> {
  const { path, replacements } = await bodyOf(c, replaceRequest);
  return await inSandbox(sandboxes, c, async ({ files }) => {
    await using file = await files.open(absolute(path), c.req.raw.signal);
    if (file.stat.size > longestText)
      throw new AppError('too_large', `The file has ${file.stat.size} bytes; at most ${longestText} can be edited.`);
    const text = textOf(await new Response(file.read() as BodyInit).bytes());
    if (text === undefined) return detail(415, 'The file is not text.');
    const body = new Blob([replaceAll(text, replacements)]).stream();
    const written = await files.write(absolute(path), body, { unchanged: file.tag, mode: file.stat.mode });
    return c.json({ path: written.path, size: written.size });
  });
}

/** The whole file or nothing, at constant memory; directories are made. */
async function upload({ sandboxes, config }: PaneFilesContext, c: PaneContext): Promise<Response> {
  const directory = absolute(c.req.query('directory') || '.');
  using watchdog = new Watchdog(patience);
  const signal = AbortSignal.any([c.req.raw.signal, watchdog.signal]);
  const source = c.env.incoming?.iterator({ destroyOnReturn: false }) ?? c.req.raw.body ?? new Blob([]).stream();
  const { name, bytes } = await fileField(source, c.req.header('content-type'));
  await using lease = await leaseOf(sandboxes, c, signal);
  const body = streamOf(bytes, () => watchdog.touch());
  const limit = config.server.upload_limit;
  const written = await lease.workspace.files.write(posix.join(directory, name), body, { limit, signal });
  return c.json({ path: written.path, size: written.size });
}
