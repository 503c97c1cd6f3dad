import type { Logger } from 'pino';
import type { McpServer } from '@modelcontextprotocol/server';
import type { Config } from '../config.ts';
import type { Metrics } from '../metrics.ts';
import type { Sandboxes } from '../sandbox/sandboxes.ts';
import type { ToolSet } from './tool-set.ts';

/** What the protocol side needs of the server around it. */
export interface McpContext {
  readonly config: Config;
  readonly log: Logger;
  readonly sandboxes: Sandboxes;
  readonly version: string;
  readonly metrics: Metrics;
  readonly tools: ToolSet;
  draining(): boolean;
  /** Registers more on a new server instance; only tests use it. */
  readonly extend?: (server: McpServer) => void;
}
