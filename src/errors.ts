/** Every way a call can fail, as a client sees it. One table maps a code to its HTTP status and JSON-RPC code. */
export const errorTable = {
  invalid_argument: { http: 400, rpc: -32602 },
  unauthorized: { http: 401, rpc: -32001 },
  forbidden: { http: 403, rpc: -32003 },
  not_found: { http: 404, rpc: -32004 },
  conflict: { http: 409, rpc: -32009 },
  too_large: { http: 413, rpc: -32013 },
  busy: { http: 429, rpc: -32029 },
  cancelled: { http: 499, rpc: -32099 },
  internal: { http: 500, rpc: -32603 },
  unsupported: { http: 501, rpc: -32601 },
  application_unavailable: { http: 502, rpc: -32056 },
  engine_unavailable: { http: 503, rpc: -32050 },
  image_missing: { http: 503, rpc: -32051 },
  sandbox_lost: { http: 503, rpc: -32052 },
  draining: { http: 503, rpc: -32053 },
  timeout: { http: 504, rpc: -32054 },
  disk_full: { http: 507, rpc: -32055 },
} as const;

export type ErrorCode = keyof typeof errorTable;

/**
 * An error whose message is fit for a client: one sentence, no stack, no host path, no other tenant's name.
 * What the operator needs besides goes into `cause` and reaches the log only.
 */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: ErrorCode;
  /** Extra fields for the client, e.g. `{ retry_after: 2 }`. */
  readonly data: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; data?: Record<string, unknown> } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.data = options.data ?? {};
  }
}

/** A session host that can't be executed, or does not answer, in a container that runs: there the fallback may serve. */
export class HostRefused extends AppError {
  constructor(message: string, cause: unknown) {
    super('unsupported', message, { cause });
  }
}

/** Whether an abort's reason is that the server stops: then what runs in a sandbox goes on. */
export function isDraining(reason: unknown): boolean {
  return reason instanceof AppError && reason.code === 'draining';
}

/** The error as a client may see it: an `AppError` as it is, anything else as `internal` with nothing of its text. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  return new AppError('internal', 'The server met an unexpected error; its log says more.', { cause: error });
}
