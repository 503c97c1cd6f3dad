import type { ListedTool, Tool } from './define-tool.ts';
import { attachmentTools } from './tools/attachments.ts';
import { commandTools } from './tools/command.ts';
import { fileNameTools } from './tools/file-names.ts';
import { fileTools } from './tools/files.ts';
import { linkTools } from './tools/links.ts';
import { portTools } from './tools/ports.ts';
import { sandboxTools } from './tools/sandbox.ts';
import { terminalTools } from './tools/terminal.ts';

/** Every tool, in the order clients see them. */
export const allTools: readonly Tool[] = [
  ...commandTools,
  ...fileTools,
  ...fileNameTools,
  ...linkTools,
  ...portTools,
  ...attachmentTools,
  ...terminalTools,
  ...sandboxTools,
];

/** The tools one server offers. */
export interface ToolSet {
  readonly listed: readonly ListedTool[];
  get(name: string): Tool | undefined;
}

/** `enabled` names a subset; empty = all. Those in `without` are left out: the server lacks what they need. */
export function toolSet(enabled: readonly string[], without: readonly string[] = []): ToolSet {
  const named = enabled.length === 0 ? allTools : allTools.filter((tool) => enabled.includes(tool.name));
  const chosen = named.filter((tool) => !without.includes(tool.name));
  const tools = new Map(chosen.map((tool) => [tool.name, tool]));
  return { listed: [...tools.values()].map((tool) => tool.listed), get: (name) => tools.get(name) };
}

/** Names in `enabled` that no tool has. */
export function unknownTools(enabled: readonly string[]): string[] {
  return enabled.filter((name) => !allTools.some((tool) => tool.name === name));
}

/** The table of tools of the documentation, in Markdown. */
export function toolTable(): string {
  const rows = allTools.map(
    ({ listed }) => `| \`${listed.name}\` | ${argumentList(listed)} | ${firstSentence(listed.description)} |`,
  );
  return ['| tool | arguments | what it does |', '| --- | --- | --- |', ...rows].join('\n');
}

function argumentList({ inputSchema }: ListedTool): string {
  const required = new Set((inputSchema['required'] as readonly string[] | undefined) ?? []);
  const names = Object.keys((inputSchema['properties'] as object | undefined) ?? {});
  return names.map((name) => (required.has(name) ? `**\`${name}\`**` : `\`${name}\``)).join(', ') || '–';
}

function firstSentence(description: string): string {
  return /^.*?[.:](?=\s|$)/.exec(description)![0].replace(/:$/, '.').replaceAll('|', '\\|');
}
