import { statSync } from 'node:fs';
import type { Engine } from './client.ts';

/** Where the engine keeps a container's output, and how much of it there is; what cannot be looked at counts as 0. */
export async function loggedBy(
  engine: Engine,
  id: string,
): Promise<{ readonly driver: string; readonly bytes: number }> {
  const container = engine.docker.getContainer(id);
  const { HostConfig, LogPath } = await engine.call(
    { doing: 'look at a sandbox', missing: 'container' },
    (abortSignal) => container.inspect({ abortSignal }),
  );
  return { driver: HostConfig.LogConfig?.Type ?? '', bytes: LogPath ? sizeOf(LogPath) : 0 };
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch {
    return 0;
  }
}
