import type { Logger } from 'pino';
import type { Config } from '../../config.ts';
import type { PreviewLinks } from '../previews/links.ts';
import type { Key, Principal } from '../../identity/key.ts';
import type { LinkKind } from '../../identity/links.ts';
import type { Sandboxes } from '../../sandbox/sandboxes.ts';
import type { Workspace } from '../../sandbox/ports/workspace.ts';
import type { ChatApi } from './chat-api.ts';

export interface Link {
  readonly url: string;
  /** ISO 8601. */
  readonly expires: string;
  /** Sentences: what may keep the user from opening it. */
  readonly notes: readonly string[];
}

/** What a tool's handler may reach: its caller's sandboxes and nothing of another's. */
export interface ToolCall {
  readonly principal: Principal;
  /** The sandbox the call means; absent scope arguments are filled in from the conversation or the session. */
  readonly key: Key;
  readonly sandboxes: Sandboxes;
  readonly config: Config;
  readonly log: Logger;
  readonly requestId: string;
  /** Aborts when the client cancels or the server gives the call up. */
  readonly signal: AbortSignal;
  /** The sandbox, created or woken; held until the call has ended. */
  workspace(): Promise<Workspace>;
  /** The chat in the application in front, where the caller's own token opens it. */
  readonly chat: ChatApi | undefined;
  /** A URL that works without an account, for an absolute path of a sandbox, for so many seconds. */
  link(kind: LinkKind, handle: string, path: string, seconds: number): Link;
  /** Where links to ports are made; absent where there are none. */
  readonly previews: { readonly links: PreviewLinks; readonly baseUrl: string } | undefined;
  /** Tells the client, where it asked to be told. `progress` only grows. */
  report(progress: number, message: string): void;
  /** True when `report` reaches somebody. */
  readonly watched: boolean;
}
