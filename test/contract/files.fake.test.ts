import { createFiles } from '../../src/sandbox/files/files.ts';
import { specOf } from '../support/docker-runtime.ts';
import { FakeRuntime } from '../support/fake-runtime.ts';
import { run } from '../support/run.ts';
import { filesContract } from './files.contract.ts';

filesContract('files over local processes', async () => {
  const runtime = new FakeRuntime();
  const container = await runtime.open(specOf('files'));
  const { stdout } = await run(container, ['pwd'], { cwd: '/workspace' });
  const root = stdout.trim();
  return {
    container,
    root,
    files: createFiles(container, { root, bash: '/bin/bash' }),
    shell: `ps axww -o args | grep '[b]erth .*${root}'`,
    dispose: () => runtime[Symbol.asyncDispose](),
  };
});
