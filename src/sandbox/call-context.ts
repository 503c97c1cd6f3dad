import { AsyncLocalStorage } from 'node:async_hooks';
import type { Principal } from '../identity/key.ts';

/** Who asked for what the domain is doing, for audit lines. */
export interface CallContext {
  readonly requestId: string;
  /** Absent until it is known. */
  readonly principal?: Principal;
  /** The caller's own credentials, which nothing that is kept may show. */
  readonly secrets: readonly string[];
  /** The MCP tool, or the HTTP route's name. */
  readonly tool: string;
}

const storage = new AsyncLocalStorage<CallContext>();

/** Runs `work`, and whatever it starts, in the name of a call. */
export function withCallContext<T>(context: CallContext, work: () => T): T {
  return storage.run(context, work);
}

/** The call in whose name the code runs; `undefined` for the server's own work. */
export function callContext(): CallContext | undefined {
  return storage.getStore();
}
