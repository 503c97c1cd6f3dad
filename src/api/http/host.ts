import { createMiddleware } from 'hono/factory';
import type { Config } from '../../config.ts';
import { AppError } from '../../errors.ts';
import { isLoopbackName } from '../../lib/loopback.ts';
import type { HttpEnv } from './env.ts';

/** Refuses a Host header that names nobody here: a web page that rebinds its DNS name would send its own. */
export function hostCheck(settings: Config['server']) {
  const allowed = allowedHosts(settings);
  return createMiddleware<HttpEnv>(async (c, next) => {
    const host = c.req.header('host') ?? '';
    if (!allowed(host)) {
      const shown = JSON.stringify(host.slice(0, 100));
      throw new AppError(
        'forbidden',
        `The Host header ${shown} is not accepted; the operator can add it to server.allowed_hosts.`,
      );
    }
    await next();
  });
}

function allowedHosts(settings: Config['server']): (host: string) => boolean {
  const patterns = [
    ...settings.allowed_hosts,
    settings.host,
    ...(settings.public_url ? [new URL(settings.public_url).host] : []),
  ];
  const exact = new Set(patterns.map((pattern) => pattern.toLowerCase()));
  const suffixes = [...exact].filter((pattern) => pattern.startsWith('*.')).map((pattern) => pattern.slice(1));
  if (exact.has('*')) return () => true;
  return (host) => {
    const url = host === '' ? null : URL.parse(`http://${host.toLowerCase()}`);
    if (!url || url.pathname !== '/' || url.username !== '') return false;
    const known =
      isLoopbackName(url.hostname) || exact.has(url.host) || exact.has(url.hostname) || exact.has(host.toLowerCase());
    return known || suffixes.some((suffix) => url.hostname.endsWith(suffix) || url.host.endsWith(suffix));
  };
}
