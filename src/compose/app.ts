import { Hono } from 'hono';
import { Registry } from 'prom-client';
import { ConfigError, type Config } from '../config.ts';
import { AppError } from '../errors.ts';
import { authenticate } from '../api/http/auth.ts';
import { inCallContext } from '../api/http/call.ts';
import { cors } from '../api/http/cors.ts';
import type { HttpEnv } from '../api/http/env.ts';
import { errorResponse, onError } from '../api/http/errors.ts';
import { filesRoutes } from '../api/http/files.ts';
import { clientAddress, proxyCheck } from '../api/http/forwarded.ts';
import { healthRoutes, metricsRoutes } from '../api/http/health.ts';
import { hostCheck } from '../api/http/host.ts';
import { identifier, keyLookup, type SettingsKeys, type StoredKeys } from '../identity/identity.ts';
import type { App } from '../api/http/served-app.ts';
import { logLine } from '../api/http/log-line.ts';
import { mcpRoutes, routePath } from '../api/http/mcp.ts';
import { oauthChallenge, oauthMetadataRoutes } from '../api/http/oauth-metadata.ts';
import { originCheck } from '../api/http/origin.ts';
import { permit } from '../api/http/permit.ts';
import { rateLimit } from '../api/http/rate.ts';
import { requestId } from '../api/http/request-id.ts';
import { bearerFromProtocol, terminalRoutes } from '../api/http/terminal.ts';
import { shareRoutes } from '../api/http/share.ts';
import { uploadRoutes } from '../api/http/upload.ts';
import type { Logger } from '../log.ts';
import type { McpExtra } from '../api/mcp/context.ts';
import type { SessionStore } from '../api/mcp/sessions.ts';
import { McpEndpoint } from '../api/mcp/endpoint.ts';
import { SessionTrail } from '../api/mcp/session-trail.ts';
import { toolSet, unknownTools } from '../api/mcp/tool-set.ts';
import { createMetrics } from '../metrics.ts';
import { PreviewDoor } from '../api/previews/door.ts';
import { PreviewGauge } from '../api/previews/gauge.ts';
import { PreviewLinks, type PreviewStore } from '../api/previews/links.ts';
import type { AuditSink } from '../sandbox/intercept/audit/log.ts';
import { paneRoutes } from '../api/open-terminal/routes.ts';
import { Links } from '../identity/links.ts';
import type { Sandboxes } from '../sandbox/sandboxes.ts';

/** What the composition root hands to the application. */
export interface AppContext {
  readonly config: Config;
  readonly log: Logger;
  readonly sandboxes: Sandboxes;
  readonly version: string;
  /** Where others count, too; absent: one of its own. */
  readonly registry?: Registry;
  /** True from the first SIGTERM on: `/ready` answers 503 and new tool calls are refused. */
  draining(): boolean;
  /** Signs links to files; the same over restarts, or links end with them. */
  readonly linkKey: Uint8Array;
  /** API keys besides those of the settings. */
  readonly keys?: StoredKeys;
  /** Those of the settings; absent: as they were at the start. */
  readonly settingsKeys?: SettingsKeys;
  /** Keeps MCP sessions over restarts; absent: they end with the server. */
  readonly sessionStore?: SessionStore;
  /** Where previews are kept; absent: there are none. */
  readonly previews?: PreviewStore;
  readonly audit?: AuditSink;
  /** Only tests have any. */
  readonly mcpExtra?: McpExtra;
}

/** Throws `ConfigError` for a `tools.enabled` that names no tool. */
export function createApp(ctx: AppContext): App {
  const { config, log, sandboxes } = ctx;
  const [unknown] = unknownTools(config.tools.enabled);
  if (unknown !== undefined) throw new ConfigError(`tools.enabled: expected names of tools, got "${unknown}"`);
  const registry = ctx.registry ?? new Registry();
  const metrics = createMetrics(
    () => sandboxes.health(),
    () => endpoint.sessions.size,
    registry,
  );
  const tools = toolSet(config.tools.enabled, config.open_webui.url === undefined ? ['fetch_attachments'] : []);
  const links = new Links(ctx.linkKey, keyLookup(ctx.settingsKeys ?? (() => config.auth.keys), ctx.keys));
  const previews = config.previews.enabled && ctx.previews ? previewDoor(ctx, ctx.previews, registry) : undefined;
  const endpoint = new McpEndpoint({
    trail: new SessionTrail(),
    config,
    log,
    sandboxes,
    metrics,
    tools,
    links,
    ...(previews && { previewLinks: previews.links }),
    version: ctx.version,
    draining: () => ctx.draining(),
    ...(ctx.sessionStore && { sessionStore: ctx.sessionStore }),
    ...(ctx.mcpExtra && { extra: ctx.mcpExtra }),
  });
  const hono = new Hono<HttpEnv>({ getPath: routePath });
  hono.onError(onError);
  hono.notFound((c) => errorResponse(c, new AppError('not_found', `There is nothing at ${c.req.path.slice(0, 200)}.`)));
  hono.use(requestId(), logLine(log, metrics, clientAddress(config.server)), inCallContext());
  hono.route('/', healthRoutes(ctx));
  hono.use(oauthChallenge(config), hostCheck(config.server), cors(config.server));
  hono.route('/', oauthMetadataRoutes(config));
  hono.route('/', shareRoutes({ sandboxes, links }));
  hono.route('/', uploadRoutes({ sandboxes, links, limit: config.server.upload_limit }));
  hono.use(originCheck(config.server), bearerFromProtocol());
  const { requests_per_minute: each, total_requests_per_minute: total } = config.limits;
  hono.use(proxyCheck(config));
  const bounded = [permit(), rateLimit({ each, total })] as const;
  hono.route(
    '/',
    paneRoutes({ config, sandboxes, version: ctx.version, keys: ctx.keys, settingsKeys: ctx.settingsKeys, bounded }),
  );
  hono.use(authenticate(config, ctx.keys, ctx.settingsKeys), ...bounded);
  hono.route('/', mcpRoutes(endpoint, config));
  hono.route('/', filesRoutes({ config, sandboxes }));
  hono.route('/', terminalRoutes({ sandboxes }));
  hono.route('/', metricsRoutes(metrics));
  return {
    hono,
    ...(previews && { previews: previews.door }),
    sessions: () => endpoint.sessions.size,
    drain: (milliseconds) => endpoint.drain(milliseconds),
    [Symbol.asyncDispose]: () => endpoint[Symbol.asyncDispose](),
  };
}

function previewDoor(
  { config, log, sandboxes, linkKey, keys, settingsKeys = () => config.auth.keys, audit }: AppContext,
  store: PreviewStore,
  registry: Registry,
) {
  const { previews } = config;
  const links = new PreviewLinks(linkKey, store, keyLookup(settingsKeys, keys));
  const door = new PreviewDoor({
    links,
    sandboxes,
    log,
    gauge: new PreviewGauge(previews, registry),
    identify: identifier(config, keys, settingsKeys),
    ...(audit && { audit }),
    domain: previews.domain?.toLowerCase(),
    headersTimeout: previews.headers_timeout * 1000,
    idleTimeout: previews.idle_timeout * 1000,
  });
  return { links, door };
}
