import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Config, ConfigError, type Template } from '../config.ts';
import { proxyVariables } from '../sandbox/network/egress.ts';
import type { ContainerSpec } from '../sandbox/ports/runtime.ts';

/** What sandboxes of one template may be. */
export type TemplatePolicy = Pick<
  ContainerSpec,
  'image' | 'env' | 'limits' | 'mounts' | 'network' | 'runtime' | 'seccomp'
> & {
  /** Whether a directory with the socket of its proxy may be mounted into it. */
  readonly egress: boolean;
};

/** What the guard lets through, from its own settings: it believes nothing that the server says. */
export interface GuardPolicy {
  readonly hostImage: string;
  readonly templates: readonly TemplatePolicy[];
  /** Most seconds for which a sandbox waits for a server. */
  readonly orphanAfter: number;
  /** Most bytes of a workspace. */
  readonly disk: number;
  readonly quota: Config['workspace']['quota'];
  /** Where each sandbox has a directory with the socket of its proxy. */
  readonly egressDirectory: string;
}

/** Throws a `ConfigError` for a seccomp profile that cannot be read. */
export function policyOf(config: Config): GuardPolicy {
  const templates = Object.entries(config.templates);
  return {
    hostImage: config.docker.host_image,
    templates: templates.map(([name, template]) => templatePolicy(name, template)),
    orphanAfter: config.session.orphan_after,
    disk: Math.max(0, ...templates.map(([, { disk }]) => disk)),
    quota: config.workspace.quota,
    egressDirectory: join(config.server.state_dir, 'egress'),
  };
}

function templatePolicy(name: string, template: Template): TemplatePolicy {
  const egress = template.network === 'allow-list';
  const { image, memory, cpus, pids, tmp, shm, nofile, mounts, runtime } = template;
  return {
    image,
    env: egress ? { ...proxyVariables, ...template.env } : template.env,
    limits: { memory, cpus, pids, tmp, shm, nofile },
    mounts,
    network: networkOf(template),
    egress,
    ...(runtime === undefined ? {} : { runtime }),
    ...seccompOf(name, template),
  };
}

function networkOf({ network, network_open_unprotected: unprotected }: Template): ContainerSpec['network'] {
  if (network !== 'open') return 'none';
  return unprotected ? 'unprotected' : 'open';
}

const builtIn = fileURLToPath(new URL('../../config/seccomp.json', import.meta.url));

function seccompOf(name: string, { seccomp = builtIn }: Template): { seccomp?: string } {
  if (seccomp === 'engine') return {};
  try {
    return { seccomp: JSON.stringify(JSON.parse(readFileSync(seccomp, 'utf8'))) };
  } catch (cause) {
    throw new ConfigError(`templates.${name}.seccomp: expected a readable JSON profile, got ${seccomp}`, { cause });
  }
}
