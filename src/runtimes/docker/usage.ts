import type Docker from 'dockerode';
import type { Usage } from '../../sandbox/ports/runtime.ts';

/**
 * An engine's statistics in the port's units; undefined where it answered without any, as it does for a container that does
 * not run and when it failed to collect them. File cache that the kernel gives back at need is no use of memory.
 */
export function usageOf(stats: Docker.ContainerStats): Usage | undefined {
  if (!(Date.parse(stats.read) > 0)) return undefined;
  const { memory_stats: memory, cpu_stats: cpu, pids_stats: pids } = stats;
  const cache = memory.stats?.total_inactive_file ?? memory.stats?.inactive_file ?? 0;
  return {
    memory: Math.max(0, (memory.usage ?? 0) - cache),
    memoryLimit: memory.limit ?? 0,
    cpuSeconds: (cpu.cpu_usage?.total_usage ?? 0) / 1e9,
    pids: pids?.current ?? 0,
    pidsLimit: pids?.limit ?? 0,
  };
}
