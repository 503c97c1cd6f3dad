import { constants } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { setAllocator } from './cli/allocator.ts';
import { readArguments, UsageError } from './cli/args.mjs';
import type { Invocation } from './cli/invocation.ts';
import { ConfigError } from './config.ts';
import { AppError } from './errors.ts';
import { SetupError } from './setup/error.ts';

const commands: Record<string, () => Promise<(invocation: Invocation) => Promise<number>>> = {
  serve: async () => (await import('./cli/serve.ts')).serve,
  guard: async () => (await import('./cli/guard.ts')).guard,
  up: async () => (await import('./cli/up.ts')).up,
  doctor: async () => (await import('./cli/doctor.ts')).doctor,
  config: async () => (await import('./cli/config.ts')).showConfig,
  key: async () => (await import('./cli/key.ts')).key,
  workspace: async () => (await import('./cli/workspace.ts')).workspace,
  backup: async () => (await import('./cli/backup.ts')).backupState,
  restore: async () => (await import('./cli/backup.ts')).restoreState,
  ps: async () => (await import('./cli/sandboxes.ts')).ps,
  stop: async () => (await import('./cli/sandboxes.ts')).stop,
  end: async () => (await import('./cli/sandboxes.ts')).end,
  audit: async () => (await import('./cli/audit.ts')).audit,
};

/** Commands whose memory matters. */
const longLived = new Set(['serve', 'up']);

// What streams through here is garbage at once: a small young generation frees it by cheap scavenges, where a grown one
// waits until the buffers' weight forces full collections, half of a transfer's CPU. Takes effect before it has grown.
setFlagsFromString('--semi-space-growth-factor=1');

// Left to itself the heap grows to four times of what was live before it is looked through, and keeps that: a server that
// has worked for a while takes half as much again. Below twice, the buffers of a transfer force collections all the time.
setFlagsFromString('--heap-growing-percent=100');

process.exit(await main(process.argv.slice(2)));

/** The exit code: 0, 1 for a failure, 2 for a command line or settings that cannot be used. */
async function main(argv: string[]): Promise<number> {
  try {
    const { command, flags, rest } = readArguments(argv);
    const load = commands[command];
    if (!load) throw new UsageError(`"berth ${command}" is for the berth program itself: src/setup/bootstrap.mjs.`);
    if (longLived.has(command)) setAllocator();
    const run = await load();
    const heeds = command === 'serve' ? heedHangUp() : undefined;
    const stop = stopSignal(heeds ? ['SIGINT', 'SIGTERM'] : ['SIGINT', 'SIGTERM', 'SIGHUP']);
    const streams = { out: process.stdout, err: process.stderr };
    return await run({ flags, rest, env: process.env, stop, ...(heeds && { hangUp: heeds }), ...streams });
  } catch (error) {
    process.stderr.write(`berth: ${explain(error)}\n`);
    return error instanceof UsageError || error instanceof ConfigError ? 2 : 1;
  }
}

function explain(error: unknown): string {
  const known = [AppError, ConfigError, SetupError, UsageError].some((type) => error instanceof type);
  if (known) return (error as Error).message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/**
 * Aborts at the first signal; a second one ends the process at once. What follows within a quarter of a second is the
 * same wish: npm and init systems pass on what a terminal has sent to everyone already.
 */
function stopSignal(signals: readonly NodeJS.Signals[]): AbortSignal {
  const controller = new AbortController();
  let first = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    first ||= performance.now();
    if (performance.now() - first > 250) process.exit(128 + (constants.signals[signal] ?? 0));
    controller.abort(signal);
  };
  for (const signal of signals) process.on(signal, onSignal);
  return controller.signal;
}

/** From now on a SIGHUP ends nothing; one that comes before somebody heeds it is heeded then. */
function heedHangUp(): (heed: () => void) => void {
  let pending = false;
  let heeded = (): void => void (pending = true);
  process.on('SIGHUP', () => heeded());
  return (heed) => {
    heeded = heed;
    if (pending) heed();
  };
}
