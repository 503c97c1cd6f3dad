import { createHash } from 'node:crypto';
import { AppError } from '../../errors.ts';
import type { Scope } from '../../identity/key.ts';

/** Where a call says which sandbox it means, besides its `sandbox` argument. Untrusted: it only chooses among the caller's own. */
export interface ScopeHints {
  header(name: string): string | null | undefined;
  readonly meta: Readonly<Record<string, unknown>> | undefined;
  /** The MCP session of the 2025 era. */
  readonly sessionId: string | undefined;
  /** The caller is one user of a shared connection, whose client opens a session per answer: sessions tell nothing. */
  readonly endUser?: boolean | undefined;
}

export interface ScopeSettings {
  readonly scope: 'auto' | 'conversation' | 'session' | 'principal';
  /** Header names, in order. */
  readonly conversation_headers: readonly string[];
  /** Keys of a request's `_meta`, in order. */
  readonly conversation_meta: readonly string[];
}

/**
 * The scope of a call: an explicit handle first, then, as `settings.scope` allows, the conversation, the session, the
 * principal's default. A 2025-era session without a conversation hint therefore has a sandbox of its own.
 */
export function resolveScope(handle: string | undefined, hints: ScopeHints, settings: ScopeSettings): Scope {
  if (handle !== undefined) return { kind: 'handle', id: handle };
  if (settings.scope === 'principal') return { kind: 'default' };
  if (settings.scope === 'session') return sessionScope(hints) ?? refuse('session', settings);
  const conversation = conversationScope(hints, settings);
  if (settings.scope === 'conversation') return conversation ?? refuse('conversation', settings);
  return conversation ?? (hints.endUser ? undefined : sessionScope(hints)) ?? { kind: 'default' };
}

function conversationScope(hints: ScopeHints, settings: ScopeSettings): Scope | undefined {
  const fromHeaders = settings.conversation_headers.map((name) => hints.header(name));
  const fromMeta = settings.conversation_meta.map((key) => hints.meta?.[key]);
  const id = [...fromHeaders, ...fromMeta].find((value) => typeof value === 'string' && value.trim() !== '');
  return typeof id === 'string' ? { kind: 'conversation', id: boundedId(id.trim()) } : undefined;
}

function sessionScope(hints: ScopeHints): Scope | undefined {
  return hints.sessionId === undefined ? undefined : { kind: 'session', id: hints.sessionId };
}

/** A short plain id as it is; any other as its hash, which no plain id can look like. */
function boundedId(id: string): string {
  if (/^[\w.:@-]{1,128}$/.test(id)) return id;
  return `~${createHash('sha256').update(id).digest('hex')}`;
}

function refuse(kind: 'session' | 'conversation', settings: ScopeSettings): never {
  const missing =
    kind === 'session'
      ? 'an Mcp-Session-Id, which this request has not'
      : `a conversation id (${[...settings.conversation_headers, ...settings.conversation_meta].join(', ')}), which this request has not`;
  throw new AppError(
    'invalid_argument',
    `This server keeps one sandbox per ${kind} and needs ${missing}; call create_sandbox and pass its handle as \`sandbox\`.`,
  );
}
