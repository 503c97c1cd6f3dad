import type { Context } from 'hono';
import { AppError } from '../../errors.ts';
import type { Key } from '../../identity/key.ts';
import type { LinkKind, Links } from '../../identity/links.ts';
import type { Sandboxes } from '../../sandbox/sandboxes.ts';
import type { HttpEnv } from './env.ts';
import { messagePage } from './message-page.ts';

export interface LinkContext {
  readonly sandboxes: Sandboxes;
  readonly links: Links;
}

/** What a good link stands for. */
export interface Linked {
  readonly key: Key;
  /** An absolute path in the sandbox. */
  readonly path: string;
}

/** The route of links: `/s/<handle>/<stamp>/<path>`. */
export const linkRoute = (prefix: string) => `${prefix}/:id/:stamp/*`;

/** What the request's link stands for; a forged one is told nothing, an expired one that it is. */
export async function linked(ctx: LinkContext, c: Context<HttpEnv>, kind: LinkKind): Promise<Linked | Response> {
  const id = c.req.param('id') ?? '';
  const path = pathOf(c);
  // The stamp is a capability: the log keeps the link without it.
  c.get('line')['path'] = `${kind} ${id}`;
  const verdict = ctx.links.check(kind, id, c.req.param('stamp') ?? '', path);
  if (verdict === 'expired') return explain(c, 410, 'This link has expired. Ask for a new one in the chat.');
  const principal = verdict === 'good' ? await ctx.sandboxes.ownerOf(id) : undefined;
  if (!principal) return explain(c, 404, 'This link does not work: it is incomplete, or what it led to is gone.');
  return { key: { principal, scope: { kind: 'handle', id } }, path };
}

/** A page for a person, or JSON for a program. */
export function explain(c: Context<HttpEnv>, status: number, message: string): Response {
  const page = c.req.header('accept')?.includes('text/html') && c.req.method === 'GET';
  if (page) return messagePage(status, message);
  return Response.json({ error: { code: status === 410 ? 'expired' : 'not_found', message } }, { status });
}

function pathOf(c: Context<HttpEnv>): string {
  const [, raw = ''] = /^\/\w+\/[^/]*\/[^/]*(\/.*)?$/s.exec(new URL(c.req.url).pathname) ?? [];
  try {
    return decodeURIComponent(raw);
  } catch (cause) {
    throw new AppError('invalid_argument', 'The link is not percent-encoded UTF-8.', { cause });
  }
}
