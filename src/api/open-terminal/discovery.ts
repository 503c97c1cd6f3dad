import { Hono } from 'hono';
import type { Config } from '../../config.ts';
import type { PaneEnv } from './env.ts';
import { detail } from './errors.ts';
import { openApi } from './openapi.ts';
import { offered } from './operations.ts';

export interface DiscoveryContext {
  readonly config: Config;
  readonly version: string;
}

/** What Open WebUI asks before it knows a user: all of it is static, and touches no sandbox. */
export function openDiscovery({ config, version }: DiscoveryContext): Hono<PaneEnv> {
  const document = openApi(offered(config.open_terminal.tools), version);
  return (
    new Hono<PaneEnv>()
      .get('/openapi.json', (c) => c.json(document))
      .get('/api/config', (c) => c.json({ features: { terminal: true, notebooks: false, system: true } }))
      .get('/health', (c) => c.json({ status: true }))
      // By a success here Open WebUI knows a server that keeps chats apart; it asks without a key.
      .get('/api/v1/policies', (c) => c.json([]))
  );
}

/** What is told to those who have proved who they are. */
export function discovery({ config }: DiscoveryContext): Hono<PaneEnv> {
  const names = Object.keys(config.templates);
  const policy = (id: string) => ({ id, data: policyData(config, id), created_at: 0, updated_at: 0 });
  return new Hono<PaneEnv>()
    .get('/system', (c) => c.json({ prompt: prompt(config, c.get('template') ?? config.session.template) }))
    .on(['GET', 'PUT'], '/api/v1/policies/:id', (c) => {
      const id = c.req.param('id');
      return names.includes(id) ? c.json(policy(id)) : detail(404, 'There is no such template.');
    })
    .on(['GET', 'PUT'], '/api/v1/policies/:id/lifecycle', (c) => {
      const id = c.req.param('id');
      if (!names.includes(id)) return detail(404, 'There is no such template.');
      return c.json({ policy_id: id, data: { idle_timeout: config.session.timeout } });
    })
    .post('/api/v1/terminals/refresh', (c) => c.json({ matched: 0, refreshed: 0, reset: 0, skipped_active: 0 }));
}

function policyData({ templates }: Config, id: string): object {
  const template = templates[id];
  if (!template) return {};
  const { image, memory, cpus, network } = template;
  return { image, memory, cpus, network };
}

/** Short: it goes before every message. */
function prompt({ templates }: Config, name: string): string {
  const template = templates[name];
  const network =
    template?.network === 'none' ? 'It has no network.' : `Its network is ${template?.network ?? 'none'}.`;
  return `You have a private Linux computer that belongs to this chat. Files are kept under /workspace. ${network} Commands run in one bash that remembers its directory and variables. The user sees the files and has a shell on the same computer.`;
}
