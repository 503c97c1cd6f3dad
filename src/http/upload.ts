import { Hono, type Context } from 'hono';
import { AppError } from '../errors.ts';
import { shown } from '../sandbox/files/paths.ts';
import { streamOf } from './body-stream.ts';
import type { HttpEnv } from './env.ts';
import { linked, linkRoute, type Linked, type LinkContext } from './link-route.ts';
import { needBody } from './upload-headers.ts';
import { uploadPage } from './upload-page.ts';
import { Watchdog } from './watchdog.ts';

export interface UploadContext extends LinkContext {
  /** Bytes of the longest file. */
  readonly limit: number;
}

/** Milliseconds an upload may stand still. */
const patience = 120_000;

/** `GET /u/…`: a page to drop files on. `PUT /u/…?name=…`: one file into the link's directory, whole or not at all. */
export function uploadRoutes(ctx: UploadContext): Hono<HttpEnv> {
  return new Hono<HttpEnv>()
    .get(linkRoute('/u'), async (c) => {
      const link = await linked(ctx, c, 'upload');
      return link instanceof Response ? link : uploadPage(link.path, ctx.limit);
    })
    .put(linkRoute('/u'), async (c) => {
      const link = await linked(ctx, c, 'upload');
      return link instanceof Response ? link : await receive(ctx, c, link);
    });
}

async function receive(ctx: UploadContext, c: Context<HttpEnv>, { key, path }: Linked): Promise<Response> {
  const name = fileName(c.req.query('name'));
  const missing = needBody(c, ctx.limit);
  if (missing) return missing;
  await using held = new AsyncDisposableStack();
  const watchdog = held.use(new Watchdog(patience));
  const signal = AbortSignal.any([c.req.raw.signal, watchdog.signal]);
  const { workspace } = held.use(await ctx.sandboxes.acquire(key, { signal }));
  const declared = c.req.header('content-length');
  const body = streamOf(c.env.incoming ?? c.req.raw.body ?? new Blob([]).stream(), () => watchdog.touch());
  const {
    size,
    sha256,
    path: written,
  } = await workspace.files.write(`${path}/${name}`, body, {
    limit: ctx.limit,
    signal,
    ...(declared !== undefined && { size: Number(declared) }),
  });
  return c.json({ path: written, size, sha256 }, 201);
}

/** A file's own name: what names another directory is refused, not repaired. */
function fileName(name: string | undefined): string {
  const fits = name !== undefined && /^(?!\.{1,2}$)[^/\0]+$/.test(name) && Buffer.byteLength(name) <= 255;
  if (!fits)
    throw new AppError(
      'invalid_argument',
      `\`name\` must be a file name of at most 255 bytes without slashes, got ${name === undefined ? 'none' : shown(name)}.`,
    );
  return name;
}
