import { statSync } from 'node:fs';
import type { Config } from '../config.ts';
import { type EngineAddress, findEngine } from '../runtimes/docker/address.ts';
import type { DiskQuota } from '../sandbox/ports/runtime.ts';
import type { Check } from '../setup/checks.ts';

/** What keeps workspaces within their size on this host. */
export async function quotaCheck(quota: () => Promise<DiskQuota>): Promise<Check> {
  const name = 'disk quota';
  const advice = 'Give the engine a file system with project quotas, or run as root on the engine’s host (loop).';
  try {
    const { kind, detail: what, reason } = await quota();
    const detail = reason ? `${what}; nothing better works here: ${reason}` : what;
    const meaning = "One sandbox can fill the host's disk, for a while or for good.";
    if (kind === 'none') return { name, status: 'fail', detail, meaning, advice };
    if (kind === 'watch') return { name, status: 'warn', detail, meaning, advice };
    return { name, status: 'ok', detail: `${kind}: ${detail}` };
  } catch (error) {
    return { name, status: 'fail', detail: (error as Error).message, advice };
  }
}

/** Who can talk to this server, and to the engine. `config` with its auth settled. */
export function exposureChecks(config: Config, env: NodeJS.ProcessEnv): readonly Check[] {
  return [serverCheck(config), ...socketCheck(env, config.docker.host)];
}

function serverCheck({ server, auth, oidc, open_webui: openWebUi }: Config): Check {
  const name = 'bind address';
  const loopback = /^(localhost|127\.[\d.]+|::1|\[::1\])$/.test(server.host);
  const keyed = auth.mode === 'keys' || oidc.issuer !== undefined || openWebUi.session_secret !== undefined;
  const detail = `${server.host}:${server.port}, ${keyed ? 'with authentication' : 'without authentication'}`;
  if (loopback) return { name, status: 'ok', detail };
  if (!keyed) {
    const meaning = 'Whoever reaches this address runs code here and reads the files of everybody.';
    return {
      name,
      status: 'fail',
      detail,
      meaning,
      advice: 'Make a key (berth key create NAME), or listen on 127.0.0.1.',
    };
  }
  if (server.public_url?.startsWith('https:')) return { name, status: 'ok', detail };
  const meaning = 'Keys may cross the network in the clear.';
  const advice = 'Put a proxy with TLS in front, and name its https address in server.public_url.';
  return { name, status: 'warn', detail, meaning, advice };
}

function socketCheck(env: NodeJS.ProcessEnv, configured: string | undefined): Check[] {
  try {
    return [engineSocket(findEngine(env, configured))];
  } catch {
    // The engine's own check tells of it.
    return [];
  }
}

export function engineSocket({ url, socketPath, host = '', tls }: EngineAddress): Check {
  const name = 'engine address';
  const meaning = "Whoever can write to it is root on the engine's host.";
  if (socketPath !== undefined) {
    const open = (statSync(socketPath, { throwIfNoEntry: false })?.mode ?? 0) & 0o002;
    if (!open) return { name, status: 'ok', detail: url };
    return {
      name,
      status: 'fail',
      detail: `${url} can be written by every user`,
      meaning,
      advice: `chmod o-rwx ${socketPath}`,
    };
  }
  if (tls?.verify && tls.cert) return { name, status: 'ok', detail: `${url}, with certificates on both sides` };
  const loopback = /^(localhost|127\.[\d.]+|\[::1\])$/.test(host);
  const advice = 'Use a unix socket, or TLS with certificates on both sides.';
  const detail = `${url} without certificates on both sides`;
  return { name, status: loopback ? 'warn' : 'fail', detail, meaning, advice };
}
