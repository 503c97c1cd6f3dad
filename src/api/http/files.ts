import { Hono, type Context } from 'hono';
import type { Config } from '../../config.ts';
import { AppError } from '../../errors.ts';
import { shown } from '../../sandbox/files/paths.ts';
import type { OpenFile } from '../../sandbox/ports/workspace.ts';
import { checked } from './body-stream.ts';
import type { HttpEnv } from './env.ts';
import { directoryHeaders, fileHeaders, isUnchanged, rangeOf } from './file-headers.ts';
import { answerInFull } from './linger.ts';
import { onlyMethods } from './methods.ts';
import { transfer, type Transfer, type TransferContext } from './transfer.ts';
import { needUnconditional, requiredTag } from './upload-condition.ts';
import { digestOf, modeOf, needBody } from './upload-headers.ts';

export interface FilesContext extends TransferContext {
  readonly config: Config;
}

/**
 * `GET`, `HEAD` and `PUT /sandboxes/{id}/files/{path}`: bytes of any size, streamed; directories as tar. `DELETE` removes,
 * `POST` with `?move_to=` gives another name, with `?make=directory` makes a directory.
 */
export function filesRoutes(ctx: FilesContext): Hono<HttpEnv> {
  return new Hono<HttpEnv>()
    .get('/sandboxes/:id/files/*', (c) => move(ctx, c, get))
    .put('/sandboxes/:id/files/*', (c) =>
      answerInFull(c, () => move(ctx, c, (sent) => put(sent, ctx.config.server.upload_limit))),
    )
    .post('/sandboxes/:id/files/*', (c) => move(ctx, c, post))
    .delete('/sandboxes/:id/files/*', (c) => move(ctx, c, remove))
    .all('/sandboxes/:id/files/*', onlyMethods('GET, HEAD, PUT, POST, DELETE'));
}

/** A transfer on this route. */
interface FileTransfer extends Transfer {
  readonly c: Context<HttpEnv>;
  readonly path: string;
}

async function move(
  ctx: FilesContext,
  c: Context<HttpEnv>,
  handle: (transfer: FileTransfer) => Promise<Response>,
): Promise<Response> {
  const path = pathOf(c);
  const key = { principal: c.get('principal'), scope: { kind: 'handle', id: c.req.param('id') ?? '' } } as const;
  return await transfer(ctx, c, key, (moved) => handle({ ...moved, c, path }));
}

async function get(transfer: FileTransfer): Promise<Response> {
  const { lease, path, signal, held } = transfer;
  const file = held.use(await lease.workspace.files.open(path, signal));
  if (file.stat.type === 'directory') return await getDirectory(transfer);
  if (file.stat.type !== 'file') {
    throw new AppError('conflict', `${shown(path)} is neither a regular file nor a directory.`);
  }
  return getFile(transfer, file);
}

function getFile({ c, body }: FileTransfer, file: OpenFile): Response {
  const headers = fileHeaders(file, c.req.query('inline') !== undefined);
  const { size } = file.stat;
  if (isUnchanged(c, file)) return new Response(null, { status: 304, headers });
  const range = rangeOf(c, file);
  if (range === null) return unsatisfiable(size, headers);
  headers.set('content-length', String(range?.length ?? size));
  if (range) headers.set('content-range', `bytes ${range.offset}-${range.offset + range.length - 1}/${size}`);
  const status = range ? 206 : 200;
  if (c.req.method === 'HEAD') return new Response(null, { status, headers });
  return new Response(body(file.read(range)), { status, headers });
}

function unsatisfiable(size: number, fileHeaders: Headers): Response {
  const headers = { 'content-range': `bytes */${size}`, etag: fileHeaders.get('etag') ?? '' };
  const message = `The file has ${size} bytes; none of them is in the range asked for.`;
  return Response.json({ error: { code: 'invalid_argument', message } }, { status: 416, headers });
}

async function getDirectory({ c, lease, path, signal, body }: FileTransfer): Promise<Response> {
  const accept = c.req.header('accept') ?? '*/*';
  const { files } = lease.workspace;
  if (/application\/(x-)?tar\b/.test(accept)) {
    const headers = directoryHeaders(path);
    if (c.req.method === 'HEAD') return new Response(null, { headers });
    const tar = await files.archive(path, signal);
    return new Response(body(tar), { headers });
  }
  if (!/\*\/\*|application\/(\*|json)/.test(accept)) return notAcceptable(path);
  const { depth, glob } = c.req.query();
  const listing = await files.list(path, {
    signal,
    ...(depth !== undefined && { depth: Number(depth) }),
    ...(glob !== undefined && { glob }),
  });
  return c.json({ path, ...listing }, 200, { 'cache-control': 'private, no-store', vary: 'accept' });
}

function notAcceptable(path: string): Response {
  const message = `${shown(path)} is a directory: ask for application/x-tar or application/json.`;
  return Response.json({ error: { code: 'invalid_argument', message } }, { status: 406 });
}

async function put(transfer: FileTransfer, limit: number): Promise<Response> {
  const { c } = transfer;
  needUnconditional(c, ['If-None-Match', 'If-Unmodified-Since', 'Content-Range']);
  const missing = needBody(c, limit);
  if (missing) return missing;
  const type = c.req.header('content-type') ?? '';
  if (/^multipart\//i.test(type)) {
    throw new AppError('invalid_argument', 'The body must be the file itself; a form came.');
  }
  return /^application\/(x-)?tar\b/i.test(type) ? await putTar(transfer, limit) : await putFile(transfer, limit);
}

async function putFile({ c, lease, path, signal, received }: FileTransfer, limit: number): Promise<Response> {
  const declared = c.req.header('content-length');
  const sha256 = digestOf(c);
  const mode = modeOf(c);
  const unchanged = await requiredTag(c, lease.workspace.files, path, signal);
  const { created, tag, ...written } = await lease.workspace.files.write(path, received(), {
    limit,
    signal,
    ...(declared !== undefined && { size: Number(declared) }),
    ...(sha256 !== undefined && { sha256 }),
    ...(mode !== undefined && { mode }),
    ...(unchanged !== undefined && { unchanged }),
  });
  const headers = tag === undefined ? undefined : { etag: `"${tag}"` };
  return c.json(written, created === false ? 200 : 201, headers);
}

async function putTar({ c, lease, path, signal, received }: FileTransfer, limit: number): Promise<Response> {
  needUnconditional(c, ['If-Match']);
  const sha256 = digestOf(c);
  const body = received((bytes) => checked(bytes, { limit, sha256 }));
  return c.json({ path, ...(await lease.workspace.files.unpack(path, body, signal)) });
}

async function remove({ c, lease, path, signal }: FileTransfer): Promise<Response> {
  const asked = c.req.query('recursive');
  if (asked !== undefined && asked !== 'true' && asked !== 'false') {
    throw new AppError('invalid_argument', `recursive must be true or false; got ${shown(asked)}.`);
  }
  return c.json(await lease.workspace.files.remove(path, { recursive: asked === 'true', signal }));
}

async function post({ c, lease, path, signal }: FileTransfer): Promise<Response> {
  const { move_to: to, make } = c.req.query();
  const { files } = lease.workspace;
  if (to !== undefined && make === undefined) return c.json(await files.move(path, to, signal));
  if (make === 'directory' && to === undefined) return c.json(await files.makeDirectory(path, signal), 201);
  throw new AppError('invalid_argument', 'A POST to a file needs ?move_to=PATH or ?make=directory, one of them.');
}

/** What stands behind `/files/`, decoded; empty for the workspace itself. */
function pathOf(c: Context<HttpEnv>): string {
  const [, raw = ''] = /^\/sandboxes\/[^/]*\/files\/?(.*)$/s.exec(new URL(c.req.url).pathname) ?? [];
  try {
    return decodeURIComponent(raw);
  } catch (cause) {
    throw new AppError('invalid_argument', `The path must be percent-encoded UTF-8; got ${shown(raw)}.`, { cause });
  }
}
