import type { HttpBindings } from '@hono/node-server';
import type { Logger } from 'pino';
import type { AppError } from '../../errors.ts';
import type { Principal } from '../../identity/key.ts';

/** What middleware puts on a request for those after it. */
export interface HttpEnv {
  // Absent when a test calls the app without a server.
  Bindings: Partial<HttpBindings>;
  Variables: {
    requestId: string;
    /** The client's address; absent without a connection. */
    client: string | undefined;
    /** Carries the request id. */
    log: Logger;
    /** Set by authentication. */
    principal: Principal;
    /** The user's own token of the application in front, where that is the proof. */
    userToken: string | undefined;
    /** Whether the caller's proof is still good, for what outlasts the request. */
    isGood: () => boolean;
    /** Why a message to `/mcp` is to be answered with an error and nothing else. */
    refusal: AppError | undefined;
    /** The tokens that proved the caller, for redaction. */
    secrets: readonly string[];
    /** Fields of the request's log line; handlers add to it. */
    line: Record<string, unknown>;
  };
}
