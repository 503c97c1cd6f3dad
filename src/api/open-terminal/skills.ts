import { posix } from 'node:path';
import { Hono } from 'hono';
import { parse } from 'yaml';
import type { Sandboxes } from '../../sandbox/sandboxes.ts';
import type { Glance } from '../../sandbox/ports/workspace.ts';
import { glanceOf, home, needed } from './call.ts';
import type { PaneEnv } from './env.ts';
import { detail } from './errors.ts';

const roots = ['.agents', '.cptr', '.claude', '.codex'].map((name) => `${home}/${name}/skills`);
const mostSkills = 100;
const longestSkill = 256 * 1024;

interface Skill {
  readonly name: string;
  readonly description: string;
  readonly location: string;
  readonly content: string;
}

/** Skills in the workspace, while the sandbox runs: asking for them before each message wakes nothing. */
export function skillRoutes(sandboxes: Sandboxes): Hono<PaneEnv> {
  return new Hono<PaneEnv>()
    .get('/skills', async (c) => c.json((await skillsOf(glanceOf(sandboxes, c))).map(shown)))
    .get('/skills/read', async (c) => {
      const glance = glanceOf(sandboxes, c);
      const name = needed(c, 'name');
      const skill = (await skillsOf(glance)).find((one) => one.name === name);
      if (!glance || !skill) return detail(404, 'There is no such skill.');
      return c.json({ ...shown(skill), content: skill.content, resources: await resourcesOf(glance, skill) });
    });
}

function shown({ name, description, location }: Skill): object {
  const id = `terminal:${encodeURIComponent(name)}`;
  return { id, name, description, location, scope: 'global', source: 'terminal' };
}

async function skillsOf(glance: Glance | null): Promise<Skill[]> {
  if (!glance) return [];
  const found = new Map<string, Skill>();
  for (const root of roots) {
    const list = await glance.files.list(root, { depth: 2, glob: '*/SKILL.md' }).catch(() => ({ entries: [] }));
    for (const { path, size } of list.entries) {
      if (found.size >= mostSkills || size > longestSkill) continue;
      const skill = await skillAt(glance, posix.join(root, path)).catch(() => undefined);
      if (skill && !found.has(skill.name)) found.set(skill.name, skill);
    }
  }
  return [...found.values()];
}

async function skillAt(glance: Glance, location: string): Promise<Skill> {
  await using file = await glance.files.open(location);
  const content = await new Response(file.read() as BodyInit).text();
  const [, head = ''] = /^---\r?\n(.*?)\r?\n---/s.exec(content) ?? [];
  const { name, description } = (parse(head, { maxAliasCount: 0 }) ?? {}) as { name?: unknown; description?: unknown };
  const directory = posix.basename(posix.dirname(location));
  return { name: String(name ?? directory), description: String(description ?? ''), location, content };
}

async function resourcesOf(glance: Glance, { location }: Skill): Promise<string[]> {
  const { entries } = await glance.files.list(posix.dirname(location), { depth: 4 });
  return entries.filter(({ path, type }) => type === 'file' && path !== 'SKILL.md').map(({ path }) => path);
}
