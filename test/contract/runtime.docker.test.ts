import { engine, newInstance, sweep, testRuntime } from '../support/docker-runtime.ts';
import { runtimeContract } from './runtime.contract.ts';

runtimeContract('the Docker runtime', async () => {
  const instance = newInstance();
  const runtime = testRuntime({ instance });
  return {
    instance,
    runtime,
    kill: (container) => engine().getContainer(container.id).kill(),
    dispose: async () => {
      await runtime[Symbol.asyncDispose]();
      await sweep(instance);
    },
  };
});
