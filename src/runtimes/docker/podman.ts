import { AppError } from '../../errors.ts';
import type { Engine } from './client.ts';

/** The part of `/version` that tells one engine from another. */
export interface EngineVersion {
  readonly Components?: readonly { readonly Name: string; readonly Version: string }[];
}

/** Podman's version where it stands behind Docker's API; `undefined` for Docker itself. */
export function podmanVersion({ Components }: EngineVersion): string | undefined {
  return Components?.find(({ Name }) => Name === 'Podman Engine')?.Version;
}

/** Rejects `unsupported` with one sentence where Podman answers; an engine that does not answer is let pass. */
export async function refusePodman(engine: Engine): Promise<void> {
  const version = await engine
    .call({ doing: 'describe itself' }, () => engine.docker.version() as Promise<EngineVersion>)
    .catch(() => undefined);
  const podman = version && podmanVersion(version);
  if (podman !== undefined) throw new AppError('unsupported', podmanRefusal(engine.address.url, podman));
}

export function podmanRefusal(url: string, version: string): string {
  return `The engine at ${url} is Podman ${version}, and Berth needs Docker: Podman takes no seccomp profile over its API and leaves a new volume empty until a container starts.`;
}
