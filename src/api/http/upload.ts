import { Hono, type Context } from 'hono';
import { AppError } from '../../errors.ts';
import { shown } from '../../sandbox/files/paths.ts';
import type { HttpEnv } from './env.ts';
import { answerInFull } from './linger.ts';
import { linked, linkRoute, type Linked, type LinkContext } from './link-route.ts';
import { transfer } from './transfer.ts';
import { needBody } from './upload-headers.ts';
import { uploadPage } from './upload-page.ts';

export interface UploadContext extends LinkContext {
  /** Bytes of the longest file. */
  readonly limit: number;
}

/** `GET /u/…`: a page to drop files on. `PUT /u/…?name=…`: one file into the link's directory, whole or not at all. */
export function uploadRoutes(ctx: UploadContext): Hono<HttpEnv> {
  return new Hono<HttpEnv>()
    .get(linkRoute('/u'), async (c) => {
      const link = await linked(ctx, c, 'upload');
      return link instanceof Response ? link : uploadPage(link.path, ctx.limit);
    })
    .put(linkRoute('/u'), async (c) => {
      const link = await linked(ctx, c, 'upload');
      return link instanceof Response ? link : await answerInFull(c, () => receive(ctx, c, link));
    });
}

async function receive(ctx: UploadContext, c: Context<HttpEnv>, { key, path }: Linked): Promise<Response> {
  const name = fileName(c.req.query('name'));
  const missing = needBody(c, ctx.limit);
  if (missing) return missing;
  return await transfer(ctx, c, key, async ({ lease: { workspace }, signal, received }) => {
    const declared = c.req.header('content-length');
    const {
      size,
      sha256,
      path: written,
    } = await workspace.files.write(`${path}/${name}`, received(), {
      limit: ctx.limit,
      signal,
      ...(declared !== undefined && { size: Number(declared) }),
    });
    return c.json({ path: written, size, sha256 }, 201);
  });
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
