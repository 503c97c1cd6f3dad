import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import { buckets } from './sandbox/intercept/metered.ts';
import type { PoolHealth } from './sandbox/sandboxes.ts';

/** What the server counts. Labels come from fixed sets only: no id of a caller, a sandbox or a path is one. */
export interface Metrics {
  request(route: string, method: string, status: number, seconds: number): void;
  toolCall(tool: string, outcome: string, seconds: number): void;
  readonly contentType: string;
  /** The Prometheus text. */
  render(): Promise<string>;
}

/** `pool` is asked at each scrape. */
export function createMetrics(
  pool: () => Promise<PoolHealth>,
  sessions: () => number,
  registry = new Registry(),
): Metrics {
  const registers = [registry];
  collectDefaultMetrics({ register: registry, prefix: 'berth_' });
  const requests = new Histogram({
    name: 'berth_http_request_duration_seconds',
    help: 'HTTP requests until their last byte.',
    labelNames: ['route', 'method', 'status'],
    buckets,
    registers,
  });
  const calls = new Counter({
    name: 'berth_tool_calls_total',
    help: 'Tool calls by tool and outcome.',
    labelNames: ['tool', 'outcome'],
    registers,
  });
  const durations = new Histogram({
    name: 'berth_tool_call_duration_seconds',
    help: 'Tool calls, start to result.',
    labelNames: ['tool'],
    buckets,
    registers,
  });
  gauges(registry, pool, sessions);
  return {
    request: (route, method, status, seconds) => requests.observe({ route, method, status: String(status) }, seconds),
    toolCall(tool, outcome, seconds) {
      calls.inc({ tool, outcome });
      durations.observe({ tool }, seconds);
    },
    contentType: registry.contentType,
    render: () => registry.metrics(),
  };
}

function gauges(registry: Registry, pool: () => Promise<PoolHealth>, sessions: () => number): void {
  const registers = [registry];
  new Gauge({
    name: 'berth_mcp_sessions',
    help: 'Open MCP sessions of the 2025 era.',
    registers,
    collect() {
      this.set(sessions());
    },
  });
  new Gauge({
    name: 'berth_sandboxes',
    help: 'Sandboxes by state.',
    labelNames: ['state'],
    registers,
    async collect() {
      const { sandboxes } = await pool();
      this.set({ state: 'known' }, sandboxes.known);
      this.set({ state: 'running' }, sandboxes.running);
      this.set({ state: 'waiting' }, sandboxes.waiting ?? 0);
    },
  });
}
