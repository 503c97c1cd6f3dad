import type Docker from 'dockerode';
import type { Usage } from '../sandbox/runtime.ts';

/** An engine's statistics in the port's units. File cache that the kernel gives back at need is no use of memory. */
export function usageOf({ memory_stats: memory, cpu_stats: cpu, pids_stats: pids }: Docker.ContainerStats): Usage {
  const cache = memory.stats?.total_inactive_file ?? memory.stats?.inactive_file ?? 0;
  return {
    memory: Math.max(0, (memory.usage ?? 0) - cache),
    memoryLimit: memory.limit ?? 0,
    cpuSeconds: (cpu.cpu_usage?.total_usage ?? 0) / 1e9,
    pids: pids?.current ?? 0,
    pidsLimit: pids?.limit ?? 0,
  };
}
