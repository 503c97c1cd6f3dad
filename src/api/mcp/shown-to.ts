import type { CallToolResult } from '@modelcontextprotocol/server';
import type { Config } from '../../config.ts';
import { forOpenWebUi } from './open-webui.ts';

/** What is known of the program that asked. */
export interface ClientProgram {
  /** As it calls itself; anybody may take any name. */
  readonly name: string | undefined;
  readonly openWebUi: boolean;
  /** It speaks the era without sessions. */
  readonly modern: boolean;
}

/** The result in the form in which this client shows it best. */
export function shownTo(client: ClientProgram, result: CallToolResult, settings: Config['mcp']): CallToolResult {
  const given = takesStructured(client, settings) ? result : withoutStructured(result);
  return client.openWebUi ? forOpenWebUi(given, client.modern) : given;
}

/**
 * Open WebUI prints the structured form after the text; others show it in the text's place. Both read the text alone
 * better.
 */
function takesStructured({ name = '', openWebUi }: ClientProgram, settings: Config['mcp']): boolean {
  if (settings.structured !== 'auto') return settings.structured === 'always';
  const named = settings.text_clients.some((other) => other.toLowerCase() === name.toLowerCase());
  return !openWebUi && !named;
}

function withoutStructured(result: CallToolResult): CallToolResult {
  const { structuredContent: _, ...rest } = result;
  return rest;
}
