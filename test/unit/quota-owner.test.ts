import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { mappedOwner } from '../../src/runtimes/docker/quota/owner.ts';
import { podmanVersion } from '../../src/runtimes/docker/podman.ts';

describe('the sandboxes’ user, as the host counts', () => {
  test('is 1000 where the engine maps nobody, whatever its directory is called', () => {
    assert.deepEqual(mappedOwner({ DockerRootDir: '/var/lib/docker', SecurityOptions: null }), {
      uid: 1000,
      gid: 1000,
    });
    const odd = { DockerRootDir: '/srv/231072.231072', SecurityOptions: ['name=seccomp,profile=builtin'] };
    assert.deepEqual(mappedOwner(odd), { uid: 1000, gid: 1000 });
  });

  test('is the thousandth after the root of the mapping', () => {
    const mapped = { DockerRootDir: '/var/lib/docker/231072.165536', SecurityOptions: ['name=seccomp', 'name=userns'] };
    assert.deepEqual(mappedOwner(mapped), { uid: 232_072, gid: 166_536 });
  });
});

test('an engine is Podman by the name of its first component', () => {
  const [podman, docker] = ['Podman Engine', 'Engine'].map((Name) => ({ Components: [{ Name, Version: '5.8.6' }] }));
  assert.deepEqual(
    [podmanVersion(podman!), podmanVersion(docker!), podmanVersion({})],
    ['5.8.6', undefined, undefined],
  );
});
