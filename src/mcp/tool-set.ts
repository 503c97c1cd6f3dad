import { commandTools } from './tools/command.ts';
import type { ListedTool, Tool } from './define-tool.ts';

/** Every tool, in the order clients see them. */
export const allTools: readonly Tool[] = [...commandTools];

/** The tools one server offers. */
export interface ToolSet {
  readonly listed: readonly ListedTool[];
  get(name: string): Tool | undefined;
}

/** `enabled` names a subset; empty = all. */
export function toolSet(enabled: readonly string[], extra: readonly Tool[] = []): ToolSet {
  const chosen = enabled.length === 0 ? allTools : allTools.filter((tool) => enabled.includes(tool.name));
  const tools = new Map([...chosen, ...extra].map((tool) => [tool.name, tool]));
  return { listed: [...tools.values()].map((tool) => tool.listed), get: (name) => tools.get(name) };
}

/** Names in `enabled` that no tool has. */
export function unknownTools(enabled: readonly string[]): string[] {
  return enabled.filter((name) => !allTools.some((tool) => tool.name === name));
}
