import { Hono } from 'hono';
import type { Metrics } from '../../metrics.ts';
import type { PoolHealth, Sandboxes } from '../../sandbox/sandboxes.ts';
import type { Config } from '../../config.ts';
import type { HttpEnv } from './env.ts';
import { onlyMethods } from './methods.ts';

export interface HealthContext {
  readonly config: Config;
  readonly sandboxes: Sandboxes;
  readonly version: string;
  draining(): boolean;
}

/** `/health`: 200 while the process works. `/ready`: 503 while draining or without an engine. */
export function healthRoutes(ctx: HealthContext): Hono<HttpEnv> {
  return new Hono<HttpEnv>()
    .get('/health', async (c) => c.json(healthOf(ctx, await ctx.sandboxes.health())))
    .get('/ready', async (c) => {
      const { engine } = await ctx.sandboxes.health();
      const reason = ctx.draining() ? 'draining' : engine ? undefined : 'engine_unavailable';
      return reason ? c.json({ ready: false, reason }, 503) : c.json({ ready: true });
    })
    .all('/health', onlyMethods('GET, HEAD'))
    .all('/ready', onlyMethods('GET, HEAD'));
}

function healthOf(ctx: HealthContext, pool: PoolHealth) {
  const status = ctx.draining() ? 'draining' : pool.engine && pool.shellAlive ? 'ok' : 'degraded';
  return {
    status,
    version: ctx.version,
    shell_alive: pool.shellAlive,
    security_enabled: ctx.config.security.enabled,
    engine: pool.engine && { name: pool.engine.name, version: pool.engine.version },
    sandboxes: pool.sandboxes,
  };
}

/** `/metrics`, behind the same authentication as everything else. */
export function metricsRoutes(metrics: Metrics): Hono<HttpEnv> {
  return new Hono<HttpEnv>()
    .get('/metrics', async (c) => c.body(await metrics.render(), 200, { 'content-type': metrics.contentType }))
    .all('/metrics', onlyMethods('GET, HEAD'));
}
