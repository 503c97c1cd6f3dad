import { AppError } from '../../errors.ts';
import { resolveScope, type ScopeSettings } from '../mcp/scope.ts';
import type { Scope } from '../../identity/key.ts';

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * The sandbox that Open WebUI means by its context id: `chat:<uuid>` is the conversation that MCP's chat header names,
 * `automation:<id>` one of its own, no context the user's default one. Throws `conflict` for a chat that is nobody's own.
 */
export function paneScope(context: string | undefined, settings: ScopeSettings): Scope {
  if (!context) return { kind: 'default' };
  const conversation = conversationOf(context);
  const [name = 'X-OpenWebUI-Chat-Id'] = settings.conversation_headers;
  const header = (asked: string) => (asked === name ? conversation : undefined);
  const scope = settings.scope === 'session' ? 'auto' : settings.scope;
  const own = { ...settings, scope, conversation_headers: [name] } as const;
  return resolveScope(undefined, { header, meta: undefined, sessionId: undefined, endUser: true }, own);
}

function conversationOf(context: string): string {
  const [, kind, id = ''] = /^(chat|automation):(.{1,200})$/s.exec(context) ?? [];
  if (kind === 'automation') return context;
  if (kind === 'chat' && uuid.test(id)) return id;
  if (kind === 'chat')
    throw new AppError(
      'conflict',
      'Temporary and channel chats have no computer: it would be nobody’s own. Save the chat.',
    );
  throw new AppError('invalid_argument', 'X-Terminal-Context-Id: expected chat:<uuid> or automation:<id>.');
}
