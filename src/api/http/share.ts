import { Hono, type Context } from 'hono';
import type { OpenFile } from '../../sandbox/ports/workspace.ts';
import type { HttpEnv } from './env.ts';
import { directoryHeaders, fileHeaders, isUnchanged, rangeOf } from './file-headers.ts';
import { explain, linked, linkRoute, type LinkContext } from './link-route.ts';
import { shownAs } from './shown-as.ts';
import { transfer, type Transfer } from './transfer.ts';

/** `GET /s/…`: a file, for whoever has the link; a directory as tar. `?download` never opens it in the browser. */
export function shareRoutes(ctx: LinkContext): Hono<HttpEnv> {
  return new Hono<HttpEnv>().get(linkRoute('/s'), async (c) => {
    const link = await linked(ctx, c, 'share');
    if (link instanceof Response) return link;
    return await transfer(ctx, c, link.key, async ({ lease: { workspace }, signal, body, held }) => {
      const file = held.use(await workspace.files.open(link.path, signal));
      if (file.stat.type === 'file') return fileResponse(c, file, body);
      if (file.stat.type !== 'directory') return explain(c, 404, 'What this link led to is no file any more.');
      const headers = directoryHeaders(file.stat.path);
      if (c.req.method === 'HEAD') return new Response(null, { headers });
      return new Response(body(await workspace.files.archive(link.path, signal)), { headers });
    });
  });
}

function fileResponse(c: Context<HttpEnv>, file: OpenFile, body: Transfer['body']): Response {
  const headers = headersOf(c, file);
  const { size } = file.stat;
  if (isUnchanged(c, file)) return new Response(null, { status: 304, headers });
  const range = rangeOf(c, file);
  if (range === null) {
    headers.set('content-range', `bytes */${size}`);
    return new Response(null, { status: 416, headers });
  }
  headers.set('content-length', String(range?.length ?? size));
  if (range) headers.set('content-range', `bytes ${range.offset}-${range.offset + range.length - 1}/${size}`);
  const status = range ? 206 : 200;
  if (c.req.method === 'HEAD') return new Response(null, { status, headers });
  return new Response(body(file.read(range)), { status, headers });
}

function headersOf(c: Context<HttpEnv>, file: OpenFile): Headers {
  const shown = c.req.query('download') === undefined ? shownAs(file.stat.path) : undefined;
  const headers = fileHeaders(file, shown !== undefined);
  if (shown) headers.set('content-type', shown.type);
  if (shown) headers.set('content-security-policy', shown.policy);
  // A chat on another origin may show the picture in its page.
  headers.set('cross-origin-resource-policy', 'cross-origin');
  return headers;
}
