import { guardedRuntime } from '../support/guarded.ts';
import { runtimeContract } from './runtime.contract.ts';
import { engine, sweep } from '../support/docker-runtime.ts';

runtimeContract('the Docker runtime behind the guard', async () => {
  const { instance, runtime, guard } = await guardedRuntime();
  return {
    instance,
    runtime,
    kill: (container) => engine().getContainer(container.id).kill(),
    dispose: async () => {
      await runtime[Symbol.asyncDispose]();
      await guard[Symbol.asyncDispose]();
      await sweep(instance);
      if (guard.refusals.length > 0) throw new Error(JSON.stringify(guard.refusals));
    },
  };
});
