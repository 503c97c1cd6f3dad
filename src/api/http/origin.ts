import { createMiddleware } from 'hono/factory';
import type { Config } from '../../config.ts';
import { AppError } from '../../errors.ts';
import type { HttpEnv } from './env.ts';
import { isLoopbackName } from '../../lib/loopback.ts';

type Accepts = (origin: string) => boolean;

/** Refuses a browser's Origin that is not accepted; other clients send none. */
export function originCheck(settings: Config['server']) {
  const accepts = acceptedOrigins(settings);
  return createMiddleware<HttpEnv>(async (c, next) => {
    const origin = c.req.header('origin');
    if (origin && !accepts(origin)) {
      const shown = JSON.stringify(origin.toLowerCase().slice(0, 100));
      throw new AppError(
        'forbidden',
        `The Origin ${shown} is not accepted; the operator can add it to server.allowed_origins.`,
      );
    }
    await next();
  });
}

/** This machine's origins, the public URL's, and those allowed. */
export function acceptedOrigins(settings: Config['server']): Accepts {
  const own = settings.public_url ? [new URL(settings.public_url).origin] : [];
  const allowed = new Set(
    [...settings.allowed_origins, ...own].map((origin) => origin.toLowerCase().replace(/\/$/, '')),
  );
  return (sent) => {
    const origin = sent.toLowerCase();
    return allowed.has('*') || allowed.has(origin) || isLoopbackOrigin(origin);
  };
}

function isLoopbackOrigin(origin: string): boolean {
  const url = URL.parse(origin);
  return url !== null && /^https?:$/.test(url.protocol) && isLoopbackName(url.hostname);
}
