import { posix } from 'node:path';
import { Hono } from 'hono';
import { z } from 'zod';
import { AppError } from '../../errors.ts';
import type { Sandboxes } from '../../sandbox/sandboxes.ts';
import type { FileMatch, FilesPort } from '../../sandbox/ports/workspace.ts';
import { absolute, bodyOf, flagOf, ifThere, inSandbox, moving, needed, numberOf, type PaneContext } from './call.ts';
import type { PaneEnv } from './env.ts';
import { detail } from './errors.ts';

const path = z.string().min(1).max(4096);
const mostPaths = 1000;
/** What a search looks at, of which a page is shown. */
const mostMatches = 1000;

/** Names that change or go, downloads of several, and the search box. */
export function changeRoutes(sandboxes: Sandboxes): Hono<PaneEnv> {
  return new Hono<PaneEnv>()
    .post('/files/mkdir', (c) => makeDirectory(sandboxes, c))
    .delete('/files/delete', (c) => remove(sandboxes, c))
    .post('/files/move', (c) => move(sandboxes, c))
    .post('/files/archive', (c) => archive(sandboxes, c))
    .get('/files/matches', (c) =>
      ifThere(
        sandboxes,
        c,
        () => c.json({ results: [], next_offset: null }),
        ({ files }) => matches(files, c),
      ),
    );
}

/** A directory that is there already stays as it is. */
async function makeDirectory(sandboxes: Sandboxes, c: PaneContext): Promise<Response> {
  const directory = absolute((await bodyOf(c, z.object({ path }))).path);
  return await inSandbox(sandboxes, c, async ({ files }) => {
    await files.makeDirectory(directory, c.req.raw.signal).catch(async (error: unknown) => {
      if (!(error instanceof AppError && error.code === 'conflict')) throw error;
      if ((await files.stat(directory)).type !== 'directory') throw error;
    });
    return c.json({ path: directory });
  });
}

async function remove(sandboxes: Sandboxes, c: PaneContext): Promise<Response> {
  const target = absolute(needed(c, 'path'));
  const nothing = () => detail(404, 'There is no such file.');
  return await ifThere(sandboxes, c, nothing, async ({ files }) => {
    const { type } = await files.remove(target, { recursive: true, signal: c.req.raw.signal });
    return c.json({ path: target, type: type === 'directory' ? type : 'file' });
  });
}

async function move(sandboxes: Sandboxes, c: PaneContext): Promise<Response> {
  const asked = await bodyOf(c, z.object({ source: path, destination: path }));
  const [source, destination] = [absolute(asked.source), absolute(asked.destination)];
  const nothing = () => detail(404, 'There is no such file.');
  return await ifThere(sandboxes, c, nothing, async ({ files }) => {
    await files.move(source, destination, c.req.raw.signal);
    return c.json({ source, destination });
  });
}

/** As octet-stream, which Open WebUI's proxy passes on as it comes. */
async function archive(sandboxes: Sandboxes, c: PaneContext): Promise<Response> {
  const asked = (await bodyOf(c, z.object({ paths: z.array(path).min(1).max(mostPaths) }))).paths.map(absolute);
  if (!sandboxes.has(c.get('key'))) return detail(404, 'There is no such file.');
  return await moving(sandboxes, c, async ({ lease, signal, body }) => {
    const zip = await lease.workspace.files.zip(asked, signal);
    const [only] = asked;
    const name = asked.length === 1 && only !== undefined ? posix.basename(only) : 'files';
    return new Response(body(zip), {
      headers: {
        'content-type': 'application/octet-stream',
        'content-disposition': `attachment; filename*=UTF-8''${encodeURIComponent(`${name}.zip`)}`,
        'x-content-type-options': 'nosniff',
      },
    });
  });
}

async function matches(files: FilesPort, c: PaneContext): Promise<Response> {
  const [directory, query] = [absolute(c.req.query('path') || '.'), needed(c, 'query')];
  const offset = numberOf(c, 'offset', 0, 1e6, 0);
  const limit = numberOf(c, 'limit', 1, 100, 50);
  const options = { path: directory, hidden: flagOf(c, 'show_hidden'), limit: mostMatches, signal: c.req.raw.signal };
  const { matches: found } = await files.search(query, options);
  const results = found.slice(offset, offset + limit).map((match) => shownMatch(directory, match));
  return c.json({ results, next_offset: offset + limit < found.length ? offset + limit : null });
}

function shownMatch(directory: string, { path: relative, type, name, lines }: FileMatch): object {
  return {
    path: posix.join(directory, relative),
    relative_path: relative,
    name: posix.basename(relative),
    type: type === 'directory' ? type : 'file',
    name_match: name,
    content_matches: lines,
  };
}
