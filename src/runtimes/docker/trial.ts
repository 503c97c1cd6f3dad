import type { Trial } from '../../sandbox/ports/runtime.ts';
import type { Engine } from './client.ts';
import { createContainer, removeContainer } from './containers.ts';
import { labels, operatorMount, paths } from './spec.ts';

/** Runs a container to its end and removes it; the exit code. Takes a body that never waits for input. */
export async function runToEnd(engine: Engine, body: { Image: string }): Promise<number> {
  const attempt = { doing: 'try something in a sandbox' };
  const id = await createContainer(engine, body);
  try {
    const container = engine.docker.getContainer(id);
    await engine.call(attempt, (abortSignal) => container.start({ abortSignal }));
    const { StatusCode } = await engine.call(attempt, (abortSignal) => container.wait({ abortSignal }));
    return StatusCode as number;
  } finally {
    await removeContainer(engine, id);
  }
}

/** A throw-away sandbox of the session host's own image. */
export function trialBody({ argv, mounts }: Trial, { instance, hostImage }: { instance: string; hostImage: string }) {
  return {
    Image: hostImage,
    User: '1000:1000',
    Entrypoint: argv.slice(0, 1),
    Cmd: argv.slice(1),
    Labels: { [labels.instance]: instance, [labels.filler]: 'trial' },
    HostConfig: {
      NetworkMode: 'none',
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges'],
      Memory: 64 * 1024 ** 2,
      PidsLimit: 32,
      LogConfig: { Type: 'none', Config: {} },
      Mounts: mounts.map(operatorMount),
    },
  };
}

/**
 * A new workspace to be tried. `owned`: its root belongs to the sandboxes' user already. It is mounted with `NoCopy` then,
 * as a workspace is: the engine's copy would mend a wrong owner here and nowhere else. Without, it gets its owner by that copy.
 */
export function trialVolume(name: string, owned: boolean) {
  const mount = { Type: 'volume' as const, Source: name, Target: paths.workspace };
  return owned ? { ...mount, VolumeOptions: { NoCopy: true } } : mount;
}
