import { Hono, type Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import type { Config } from '../../config.ts';
import type { HttpEnv } from './env.ts';

const wellKnown = '/.well-known/oauth-protected-resource';

/** Says which issuer's tokens open `/mcp` (RFC 9728). Only where there is one. */
export function oauthMetadataRoutes(config: Config): Hono<HttpEnv> {
  const routes = new Hono<HttpEnv>();
  const { issuer } = config.oidc;
  if (issuer === undefined) return routes;
  const describe = (c: Context<HttpEnv>) =>
    c.json({
      resource: `${baseUrl(c, config)}/mcp`,
      authorization_servers: [issuer],
      bearer_methods_supported: ['header'],
      resource_name: 'Berth',
    });
  return routes.get(wellKnown, describe).get(`${wellKnown}/mcp`, describe);
}

/** Tells whoever is refused where to get a token. */
export function oauthChallenge(config: Config) {
  return createMiddleware<HttpEnv>(async (c, next) => {
    await next();
    if (c.res.status === 401 && config.oidc.issuer !== undefined)
      c.res.headers.set(
        'www-authenticate',
        `Bearer realm="berth", resource_metadata="${baseUrl(c, config)}${wellKnown}/mcp"`,
      );
  });
}

/** The address clients use, without a slash at the end: `server.public_url`, or what the request was sent to. */
export function baseUrl(c: Context<HttpEnv>, config: Config): string {
  return (config.server.public_url ?? new URL(c.req.url).origin).replace(/\/+$/, '');
}
