import { createMiddleware } from 'hono/factory';
import { AppError } from '../../errors.ts';
import type { KeyScope } from '../../identity/key.ts';
import type { HttpEnv } from './env.ts';

/** Refuses with `forbidden` what the caller's key is not good for. A route that nothing here names is good for no scope. */
export function permit() {
  return createMiddleware<HttpEnv>(async (c, next) => {
    const { scopes } = c.get('principal');
    const { method, path } = c.req;
    const enough = scopesFor(path, method === 'GET' || method === 'HEAD');
    if (scopes && !enough.some((scope) => scopes.includes(scope))) throw refused(scopes, enough);
    await next();
  });
}

function scopesFor(path: string, onlyReads: boolean): readonly KeyScope[] {
  if (path === '/mcp') return ['tools', 'read'];
  if (path.startsWith('/open-terminal/')) return ['tools'];
  if (path === '/metrics') return ['metrics'];
  if (/^\/sandboxes\/[^/]+\/terminals\//.test(path)) return ['terminals'];
  if (/^\/sandboxes\/[^/]+\/files(\/|$)/.test(path)) return onlyReads ? ['files', 'read'] : ['files'];
  return [];
}

function refused(scopes: readonly KeyScope[], enough: readonly KeyScope[]): AppError {
  const needs = enough.length > 0 ? `the scope ${enough.join(' or ')}` : 'a key without scopes';
  return new AppError('forbidden', `This needs ${needs}; your key has ${scopes.join(', ')}.`);
}
