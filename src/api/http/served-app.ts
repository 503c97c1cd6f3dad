import type { Hono } from 'hono';
import type { PreviewDoor } from '../previews/door.ts';
import type { HttpEnv } from './env.ts';

export interface App extends AsyncDisposable {
  /** Stands before `hono`. */
  readonly previews?: PreviewDoor;
  readonly hono: Hono<HttpEnv>;
  /** Open MCP sessions of the 2025 era. */
  sessions(): number;
  /** Waits for the calls in flight; those that outlast it end with the error `draining`. */
  drain(milliseconds: number): Promise<void>;
}
