import type { CallToolResult, ContentBlock } from '@modelcontextprotocol/server';
import type { Principal } from '../../identity/key.ts';
import { byteSize, grouped } from '../../lib/text.ts';

/** Its client takes no event of more than 1 MiB; this leaves room for the envelope. */
const longest = 1000 * 1024;

/**
 * Whether Open WebUI is calling: a key's settings say so, or the user it names with its HTTP client's name. A chat header
 * alone says nothing: any client may send one.
 */
export function isOpenWebUi(principal: Principal, header: (name: string) => string | null | undefined): boolean {
  if (principal.endUser) return true;
  const namesUser = typeof header('x-openwebui-user-id') === 'string';
  return namesUser && header('user-agent')?.startsWith('python-httpx') === true;
}

/**
 * A result as Open WebUI can show it: short enough for its client. Its versions of the 2025 era show a picture to the
 * reader and an embedded one to the model; later ones (`modern`) give both the picture.
 */
export function forOpenWebUi(result: CallToolResult, modern: boolean): CallToolResult {
  const shown = modern ? { ...result, content: result.content.filter((item) => !isEmbeddedPicture(item)) } : result;
  if (sizeOf([shown.content, shown.structuredContent]) <= longest) return shown;
  const { structuredContent: _, ...rest } = shown;
  const [first, ...others] = rest.content;
  if (first?.type !== 'text' || sizeOf(rest.content) <= longest) return rest;
  const note = others.length > 0 ? dropped(others) : '';
  return { ...rest, content: [{ type: 'text', text: shortened(note + first.text) }] };
}

function isEmbeddedPicture(item: ContentBlock): boolean {
  return item.type === 'resource' && 'blob' in item.resource && item.resource.mimeType?.startsWith('image/') === true;
}

function dropped(content: readonly ContentBlock[]): string {
  const size = byteSize(sizeOf(content));
  return `[note: what goes with this text (${size}) is too much for the chat; make it smaller, or hand it over by share_file]\n`;
}

function sizeOf(content: unknown): number {
  return Buffer.byteLength(JSON.stringify(content));
}

function shortened(text: string): string {
  let cut = text;
  for (let kept = text.length; sizeOf([{ type: 'text', text: cut }]) > longest; kept *= 0.8)
    cut = ends(text, kept * 0.4);
  return cut;
}

function ends(text: string, half: number): string {
  const omitted = grouped(text.length - 2 * Math.floor(half));
  return `${text.slice(0, half)}\n[… ${omitted} characters omitted …]\n${text.slice(-Math.floor(half))}`;
}
