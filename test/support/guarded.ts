import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findEngine } from '../../src/runtimes/docker/address.ts';
import { startGuard } from '../../src/guard/guard.ts';
import type { GuardPolicy, TemplatePolicy } from '../../src/guard/policy.ts';
import { hostImage, MiB, newInstance, testImage, testRuntime } from './docker-runtime.ts';

const template: TemplatePolicy = {
  image: testImage,
  env: {},
  limits: { memory: 256 * MiB, cpus: 1, pids: 128, tmp: 64 * MiB, shm: 16 * MiB, nofile: 1024 },
  mounts: [],
  network: 'none',
  egress: false,
};

/** What the sandboxes of the tests are, `specOf` above all. */
export const testPolicy: GuardPolicy = {
  hostImage,
  templates: [template, { ...template, env: { A: 'from spec', B: 'kept' } }, { ...template, image: 'missing/image:1' }],
  orphanAfter: 600,
  disk: 64 * MiB,
  quota: 'auto',
  egressDirectory: '/nonexistent/egress',
};

export interface TestGuard extends AsyncDisposable {
  /** The path of its socket. */
  readonly socket: string;
  readonly refusals: { readonly path: string; readonly message: string; readonly status: number }[];
}

export async function testGuard(policy = testPolicy, engine = findEngine(process.env).socketPath!): Promise<TestGuard> {
  const directory = mkdtempSync(join(tmpdir(), 'berth-guard-'));
  const socket = join(directory, 'guard.sock');
  const refusals: TestGuard['refusals'][number][] = [];
  const guard = await startGuard({ socket, engine, policy, refused: (refusal) => refusals.push(refusal) });
  return {
    socket,
    refusals,
    async [Symbol.asyncDispose]() {
      await guard[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true });
    },
  };
}

/** A runtime that reaches the engine through a guard and no other way. */
export async function guardedRuntime(policy = testPolicy) {
  const instance = newInstance();
  const guard = await testGuard(policy);
  return { instance, guard, runtime: testRuntime({ instance, host: `unix://${guard.socket}` }) };
}
