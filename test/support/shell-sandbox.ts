import { randomBytes } from 'node:crypto';
import {
  openShellHost,
  type SessionHost,
  type SessionHostOptions,
} from '../../src/sandbox/session/wire/session-host.ts';
import type { Container, ContainerSpec, Runtime } from '../../src/sandbox/ports/runtime.ts';
import { quiet, specOf } from './docker-runtime.ts';

/** The settings' defaults. */
export const defaultConfig = {
  shell: {
    default_shell: '/bin/bash',
    timeout: 120,
    max_timeout: 3600,
    wait: 0,
    output_head: 16384,
    output_tail: 32768,
    window: 1048576,
    history: 32,
    queue: 32,
  },
  terminal: { max: 8, scrollback: 1000, buffer: 1048576, cols: 80, rows: 24, watchers: 16 },
};

/** A real container with its session host, without the pool. */
export interface ShellSandbox extends AsyncDisposable {
  readonly container: Container;
  readonly host: SessionHost;
  /** Another server's connection to the same host, which takes the place of the one before. */
  connect(options?: Partial<SessionHostOptions>): Promise<SessionHost>;
}

export async function shellSandbox(runtime: Runtime, spec: Partial<ContainerSpec> = {}): Promise<ShellSandbox> {
  const name = `shell-${randomBytes(4).toString('hex')}`;
  const token = randomBytes(32);
  const container = await runtime.open(specOf(name, spec));
  const connect = (options: Partial<SessionHostOptions> = {}) =>
    openShellHost(container, { token, log: quiet, config: defaultConfig, ...options });
  const host = await connect();
  return {
    container,
    host,
    connect,
    async [Symbol.asyncDispose]() {
      await host[Symbol.asyncDispose]();
      await container.remove();
      await runtime.removeVolume(name);
    },
  };
}
