import type { Logger } from 'pino';
import type {
  CallToolResult,
  InputRequiredResult,
  McpServer,
  ServerContext,
  ServerOptions,
} from '@modelcontextprotocol/server';
import type { Config } from '../../config.ts';
import type { Metrics } from '../../metrics.ts';
import type { PreviewLinks } from '../previews/links.ts';
import type { Links } from '../../identity/links.ts';
import type { Sandboxes } from '../../sandbox/sandboxes.ts';
import type { ListedTool } from './define-tool.ts';
import type { SessionStore } from './sessions.ts';
import type { SessionTrail } from './session-trail.ts';
import type { ToolSet } from './tool-set.ts';

/** What the protocol side needs of the server around it. */
export interface McpContext {
  readonly config: Config;
  readonly log: Logger;
  readonly sandboxes: Sandboxes;
  readonly version: string;
  readonly metrics: Metrics;
  readonly tools: ToolSet;
  readonly links: Links;
  /** Absent: there are no previews. */
  readonly previewLinks?: PreviewLinks;
  readonly trail: SessionTrail;
  /** Absent: sessions end with the server. */
  readonly sessionStore?: SessionStore;
  draining(): boolean;
  readonly extra?: McpExtra;
}

/** What a test puts on the protocol servers besides the product's own tools. */
export interface McpExtra {
  readonly options?: ServerOptions;
  readonly tools: readonly RawTool[];
  /** Registers prompts, resources and the like on a new server instance. */
  extend(server: McpServer): void;
}

/** A tool on the SDK's own terms. */
export interface RawTool {
  readonly listed: {
    readonly name: string;
    readonly description: string;
    readonly inputSchema: ListedTool['inputSchema'];
  };
  call(args: Record<string, unknown>, ctx: ServerContext): Promise<CallToolResult | InputRequiredResult>;
}
