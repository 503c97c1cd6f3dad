import type { Config } from '../../../config.ts';
import type { AdmissionLimits } from '../../lifecycle/admission.ts';
import { engineMemory, Headroom } from '../../lifecycle/headroom.ts';
import type { Runtime } from '../../ports/runtime.ts';
import type { SandboxRow } from '../../../state/state.ts';
import { Limiter, type LimiterOptions } from './limiter.ts';

/** `undefined` where nothing is bounded. */
export function createLimiter(
  { limits, shell }: Config,
  openTerminals: LimiterOptions['openTerminals'],
): Limiter | undefined {
  const each = {
    commands: limits.commands,
    terminals: limits.terminals,
    uploadPerHour: limits.upload_bytes_per_hour,
    cpuPerHour: limits.cpu_minutes_per_hour * 60,
  };
  const total = {
    commands: limits.total_commands,
    terminals: limits.total_terminals,
    uploadPerHour: limits.total_upload_bytes_per_hour,
    cpuPerHour: limits.total_cpu_minutes_per_hour * 60,
  };
  const limiter = new Limiter({ each, total, openTerminals, longestWait: shell.max_timeout });
  return limiter.isIdle ? undefined : limiter;
}

/** What bounds the starting of sandboxes. */
export function admissionLimits(
  config: Config,
  runtime: Runtime,
  running: () => readonly SandboxRow[],
): AdmissionLimits {
  const { templates, session, limits, docker } = config;
  const of = ({ template }: { template: string }) => (templates[template] ?? templates[session.template])?.memory ?? 0;
  const headroom = new Headroom({
    total: engineMemory(runtime),
    committed: () => running().reduce((sum, row) => sum + of(row), 0),
    start: limits.host_memory_start,
    idle: limits.host_memory_idle,
  });
  const largest = Math.max(...Object.values(templates).map(({ memory }) => memory));
  return {
    maxSandboxes: session.max_sessions,
    maxPerPrincipal: limits.sandboxes,
    maxStarts: docker.max_parallel_starts,
    memory: { each: limits.memory, total: limits.total_memory, of, largest },
    queue: { longest: limits.queue, wait: limits.queue_wait },
    headroom,
  };
}
