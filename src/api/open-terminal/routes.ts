import { Hono, type MiddlewareHandler } from 'hono';
import { createMiddleware } from 'hono/factory';
import type { Config } from '../../config.ts';
import { AppError } from '../../errors.ts';
import type { HttpEnv } from '../http/env.ts';
import type { SettingsKeys, StoredKeys } from '../../identity/identity.ts';
import type { Sandboxes } from '../../sandbox/sandboxes.ts';
import { changeRoutes } from './changes.ts';
import { Directories } from './directories.ts';
import { discovery, openDiscovery } from './discovery.ts';
import type { PaneEnv } from './env.ts';
import { detail, paneError } from './errors.ts';
import { paneFiles } from './files.ts';
import { paneIdentifier, type IdentifyPane } from './identity.ts';
import { portRoutes } from './ports.ts';
import { processRoutes } from './processes.ts';
import { paneScope } from './scope.ts';
import { shellRoutes } from './shells.ts';
import { skillRoutes } from './skills.ts';
import { socketRoute } from './socket.ts';

export interface PaneOptions {
  readonly config: Config;
  readonly sandboxes: Sandboxes;
  readonly version: string;
  readonly keys?: StoredKeys | undefined;
  /** As `AppContext.settingsKeys`. */
  readonly settingsKeys?: SettingsKeys | undefined;
  /** What counts and bounds a proved caller's requests; polls pass by it. */
  readonly bounded: readonly MiddlewareHandler<HttpEnv>[];
}

/** Open WebUI's panes, at `/open-terminal`; `/open-terminal/p/{template}` makes its sandboxes from that template. */
export function paneRoutes(options: PaneOptions): Hono<HttpEnv> {
  const root = new Hono<HttpEnv>();
  if (!options.config.open_terminal.enabled) return root;
  const panes = panesOf(options) as unknown as Hono<HttpEnv>;
  return root.route('/open-terminal/p/:template', panes).route('/open-terminal', panes);
}

function panesOf({ config, sandboxes, version, keys, settingsKeys, bounded }: PaneOptions): Hono<PaneEnv> {
  const identify = paneIdentifier(config, keys, settingsKeys);
  const directories = new Directories();
  const panes = new Hono<PaneEnv>();
  panes.onError(paneError);
  panes.use(quietPolls());
  panes.route('/', openDiscovery({ config, version }));
  panes.route('/', socketRoute({ sandboxes, config, identify }));
  panes.use(proved(identify, config));
  for (const bound of bounded) panes.use(unlessPoll(bound as unknown as MiddlewareHandler<PaneEnv>));
  panes.route('/', discovery({ config, version }));
  panes.route('/', processRoutes({ sandboxes, config, directories }));
  panes.route('/', shellRoutes(sandboxes));
  panes.route('/', paneFiles({ sandboxes, config, directories }));
  panes.route('/', skillRoutes(sandboxes));
  panes.route('/', changeRoutes(sandboxes));
  panes.route('/', portRoutes({ sandboxes, config }));
  for (const path of missing)
    panes.all(path, () => detail(501, 'This is not to be had on this computer yet; the Shell tab can do it.'));
  panes.all('/notebooks/*', () => detail(501, 'Notebooks need ipykernel, which this computer does not have.'));
  panes.all('/notebooks', () => detail(501, 'Notebooks need ipykernel, which this computer does not have.'));
  panes.all('*', () => detail(404, 'There is nothing here.'));
  return panes;
}

/** What the files of a sandbox cannot do so far; comparing is answered with 404, which the pane shows politely. */
const missing = ['/files/grep'];

/** What a pane or a message asks by itself: of a GET, whatever only looks at what runs. */
const polls =
  /\/(execute|ports|skills|system|openapi\.json|api\/config|api\/terminals|api\/v1\/.*|files\/cwd|execute\/[^/]+\/status)$/;

function isPoll(method: string, path: string): boolean {
  return (method === 'GET' && polls.test(path)) || (method === 'POST' && path.endsWith('/files/cwd'));
}

function quietPolls() {
  return createMiddleware<PaneEnv>(async (c, next) => {
    if (isPoll(c.req.method, c.req.path)) c.get('line')['quiet'] = true;
    await next();
  });
}

function unlessPoll(bound: MiddlewareHandler<PaneEnv>): MiddlewareHandler<PaneEnv> {
  return async (c, next) => (isPoll(c.req.method, c.req.path) ? await next() : await bound(c, next));
}

/** Sets who is calling and which sandbox is meant, or refuses. */
function proved(identify: IdentifyPane, config: Config) {
  return createMiddleware<PaneEnv>(async (c, next) => {
    const { principal, secrets, userToken, isGood = () => true } = await identify((name) => c.req.header(name));
    const template = c.req.param('template');
    if (template !== undefined && !Object.hasOwn(config.templates, template))
      throw new AppError('not_found', 'There is no such template.');
    c.set('principal', principal);
    c.set(
      'secrets',
      secrets.filter(({ length }) => length >= 16),
    );
    c.set('userToken', userToken);
    c.set('isGood', isGood);
    c.set('template', template);
    c.set('key', { principal, scope: paneScope(c.req.header('x-terminal-context-id'), config.session) });
    await next();
  });
}
