import type { CallToolResult, ContentBlock } from '@modelcontextprotocol/server';
import type { Principal } from '../sandbox/key.ts';
import { byteSize } from './text.ts';

/** Its client takes no event of more than 1 MiB; this leaves room for the envelope. */
const longest = 1000 * 1024;

const marks = ['x-openwebui-chat-id', 'x-openwebui-user-id', 'x-openwebui-user-jwt'];

/** Whether Open WebUI is calling: it says so by its headers, even by empty ones. */
export function isOpenWebUi(header: (name: string) => string | null | undefined, principal: Principal): boolean {
  return principal.endUser === true || marks.some((name) => typeof header(name) === 'string');
}

/**
 * A result as Open WebUI can show it: without the structured form, which it would print after the text, and short
 * enough for its client.
 */
export function forOpenWebUi(result: CallToolResult): CallToolResult {
  const { structuredContent: _, ...shown } = result;
  const [first, ...others] = shown.content;
  if (first?.type !== 'text' || sizeOf(shown.content) <= longest) return shown;
  const note = others.length > 0 ? dropped(others) : '';
  return { ...shown, content: [{ type: 'text', text: shortened(note + first.text, longest / 2) }] };
}

function dropped(content: readonly ContentBlock[]): string {
  const size = byteSize(sizeOf(content));
  return `[note: what goes with this text (${size}) is too much for the chat; make it smaller, or hand it over by share_file]\n`;
}

function sizeOf(content: readonly ContentBlock[]): number {
  return Buffer.byteLength(JSON.stringify(content));
}

/** In characters, of which one may take six bytes as JSON: escapes are rare, so the half of what fits is enough. */
function shortened(text: string, limit: number): string {
  if (Buffer.byteLength(JSON.stringify(text)) <= longest) return text;
  const half = Math.floor(limit / (Buffer.byteLength(JSON.stringify(text)) > 3 * text.length ? 6 : 2.5));
  return `${text.slice(0, half)}\n[… ${(text.length - 2 * half).toLocaleString('en-US')} characters omitted …]\n${text.slice(-half)}`;
}
