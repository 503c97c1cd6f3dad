import { posix } from 'node:path';
import type { Context } from 'hono';
import type { z } from 'zod';
import { AppError } from '../../errors.ts';
import { readJson } from '../http/body.ts';
import type { HttpEnv } from '../http/env.ts';
import { transfer, type Transfer } from '../http/transfer.ts';
import type { Glance, Workspace } from '../../sandbox/ports/workspace.ts';
import type { Lease, Sandboxes } from '../../sandbox/sandboxes.ts';
import type { PaneEnv } from './env.ts';

export const home = '/workspace';
const longestBody = 16 * 1024 * 1024;

export type PaneContext = Context<PaneEnv>;

/** A look at the caller's sandbox while it runs. */
export function glanceOf(sandboxes: Sandboxes, c: PaneContext): Glance | null {
  return sandboxes.glance(c.get('key'));
}

/** Holds the caller's sandbox, which is made or woken where it does not run. */
export async function leaseOf(sandboxes: Sandboxes, c: PaneContext, signal = c.req.raw.signal): Promise<Lease> {
  const template = c.get('template');
  return await sandboxes.acquire(c.get('key'), { signal, ...(template !== undefined && { template }) });
}

/** Works on the caller's sandbox, which is made or woken where it does not run. */
export async function inSandbox<T>(
  sandboxes: Sandboxes,
  c: PaneContext,
  work: (workspace: Workspace) => Promise<T>,
): Promise<T> {
  await using lease = await leaseOf(sandboxes, c);
  return await work(lease.workspace);
}

/** Moves bytes between the caller and their sandbox, which is made or woken where it does not run. */
export function moving(sandboxes: Sandboxes, c: PaneContext, work: (transfer: Transfer) => Promise<Response>) {
  const request = c as unknown as Context<HttpEnv>;
  return transfer({ sandboxes, template: c.get('template') }, request, c.get('key'), work);
}

/** As `inSandbox`, but makes no sandbox for one who only looks: then the answer is `nothing`. */
export async function ifThere<T>(
  sandboxes: Sandboxes,
  c: PaneContext,
  nothing: () => T,
  work: (workspace: Workspace) => Promise<T>,
): Promise<T> {
  return sandboxes.has(c.get('key')) ? await inSandbox(sandboxes, c, work) : nothing();
}

/** An absolute path; a relative one is under `/workspace`. */
export function absolute(path: string): string {
  return posix.resolve(home, path);
}

/** A query's text. Throws `invalid_argument` for one that has to be there. */
export function needed(c: PaneContext, name: string): string {
  const value = c.req.query(name);
  if (value) return value;
  throw new AppError('invalid_argument', `${name}: expected a value in the query, got none.`);
}

/** A query's whole number within bounds; the fallback where it is left out, or `null` as Open WebUI sends it. */
export function numberOf<F extends number | undefined>(
  c: PaneContext,
  name: string,
  from: number,
  to: number,
  fallback: F,
) {
  const text = c.req.query(name);
  if (text === undefined || text === '' || text === 'null' || text === 'None') return fallback;
  const value = Number(text);
  if (Number.isFinite(value) && value >= from && value <= to) return value;
  throw new AppError(
    'invalid_argument',
    `${name}: expected a number from ${from} to ${to}; got ${JSON.stringify(text.slice(0, 40))}.`,
  );
}

/** `True` and `true` alike. */
export function flagOf(c: PaneContext, name: string): boolean {
  return /^(true|1)$/i.test(c.req.query(name) ?? '');
}

/** The JSON body, checked. Throws `invalid_argument` with one sentence. */
export async function bodyOf<T extends z.ZodType>(c: PaneContext, shape: T): Promise<z.infer<T>> {
  const parsed = shape.safeParse(await readJson(c.req.raw, longestBody));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new AppError('invalid_argument', `${issue?.path.join('.') || 'body'}: ${issue?.message ?? 'expected JSON'}.`);
}

/** An optional value that may also come as `null`. */
export function optional<T extends z.ZodType>(shape: T) {
  return shape.nullish().transform((value) => value ?? undefined);
}
