import { AppError, HostRefused } from '../../errors.ts';

/** What was being done when the engine refused, for the sentence the client reads. */
export interface Attempt {
  /** Completes "The container engine could not …". */
  readonly doing: string;
  /** The image reference as the operator configured it, where one is involved. */
  readonly image?: string;
  /** The thing that a 404 means; absent, a 404 is an unexpected error. */
  readonly missing?: 'container' | 'volume';
}

/** An engine's answer with an HTTP status, as docker-modem throws it. */
interface EngineFailure extends Error {
  readonly statusCode?: number;
  readonly code?: string;
}

/**
 * An engine's error as an `AppError`. The engine's own text may name host paths, overlay directories and other
 * containers, so it stays in `cause`, for the log alone.
 */
export function engineError(error: unknown, attempt: Attempt): AppError {
  if (error instanceof AppError) return error;
  const failure: EngineFailure = error instanceof Error ? error : new Error(String(error));
  if (failure.statusCode !== undefined && hostRefusal.test(failure.message))
    return new HostRefused("The sandbox's session host can't run in this container.", error);
  const [code, message] = classify(failure, attempt);
  return new AppError(code, message, { cause: error });
}

const hostRefusal = /exec format error|session-host\W+permission denied/i;

function classify(failure: EngineFailure, attempt: Attempt): [AppError['code'], string] {
  const { statusCode: status, message } = failure;
  if (status === undefined) return unreachable(failure, attempt);
  if (/no space left on device|disk quota exceeded/i.test(message)) return ['disk_full', diskFull];
  if (status === 404 && /no such image|not found.*manifest|image.*not found/i.test(message))
    return imageMissing(attempt);
  if (status === 404 && attempt.missing === 'container') return ['sandbox_lost', 'The sandbox is gone.'];
  if (/is paused/i.test(message)) return ['busy', 'The sandbox is paused.'];
  if (/is not running|container not running|not running/i.test(message))
    return ['sandbox_lost', 'The sandbox has stopped.'];
  if (/unknown or invalid runtime name|unknown runtime/i.test(message))
    return ['internal', 'The container engine does not know the runtime of this template; the log names it.'];
  if (/mounts? denied|bind source path does not exist|invalid mount/i.test(message))
    return ['internal', 'A mount of this template does not exist on the engine; the log names it.'];
  return ['internal', `The container engine could not ${attempt.doing}; the log says why.`];
}

const diskFull = "The container engine's disk is full.";

function imageMissing({ image = 'of this template' }: Attempt): [AppError['code'], string] {
  return ['image_missing', `The image ${image} is not on the container engine.`];
}

function unreachable({ code }: EngineFailure, { doing }: Attempt): [AppError['code'], string] {
  if (code === 'ENOSPC') return ['disk_full', diskFull];
  if (code === 'EACCES' || code === 'EPERM')
    return ['engine_unavailable', 'The container engine refuses the user that Berth runs as.'];
  if (code === 'ENOENT' || code === 'ECONNREFUSED')
    return ['engine_unavailable', 'The container engine is not running, or not where Berth looks for it.'];
  if (code === 'ABORT_ERR') return ['cancelled', 'The call was cancelled.'];
  if (code !== undefined) return ['engine_unavailable', `The connection to the container engine failed (${code}).`];
  return ['internal', `The container engine could not ${doing}; the log says why.`];
}

/** The HTTP status of an engine's answer, looked up through `cause`. */
export function statusOf(error: unknown): number | undefined {
  if (error instanceof AppError) return statusOf(error.cause);
  return error instanceof Error ? (error as EngineFailure).statusCode : undefined;
}
