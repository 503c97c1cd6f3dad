import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig, type LoadedConfig, type Override } from '../config.ts';

/** What a command gets of the process it runs in. */
export interface Invocation {
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
  /** The words besides the flags. */
  readonly rest: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Aborts when the process is asked to end. */
  readonly stop: AbortSignal;
  /** Hears each SIGHUP, where that does not end the command. */
  readonly hangUp?: (heed: () => void) => void;
  readonly out: NodeJS.WriteStream;
  readonly err: NodeJS.WriteStream;
}

/** The settings, those of the command line on top. Throws `ConfigError`. */
export function settings({ flags, env }: Pick<Invocation, 'flags' | 'env'>): LoadedConfig {
  const overrides = ['host', 'port'].flatMap((name): Override[] => {
    const value = flags[name];
    return typeof value === 'string' ? [{ key: `server.${name}`, value, flag: `--${name}` }] : [];
  });
  return loadConfig({ env, overrides, ...(typeof flags['config'] === 'string' && { file: flags['config'] }) });
}

/** Resolves when the signal aborts. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

export function version(): string {
  const text = readFileSync(join(import.meta.dirname, '..', '..', 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
