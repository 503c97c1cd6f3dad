import { builtInTemplates } from './schema.ts';
import { groupNames, settingRows, type SettingRow } from './tree.ts';

const head = `# Berth's settings, each with its default; what has no default is commented out.
# The file is named by --config or BERTH_CONFIG_FILE. Environment variables win over it: server.port is
# BERTH_SERVER__PORT (MCP_SHELL_SERVER__PORT works as well). \`berth config\` prints what is in force.
# Seconds may be written 90s, 15m, 2h, 1d; sizes 512KiB, 64MiB, 2GiB.
`;

const templatesNote = `  # One entry per kind of sandbox. Clients choose among the names; \`false\` takes a built-in one away.
`;

/** The annotated settings file: every setting with its default, so that loading it changes nothing. */
export function exampleFile(): string {
  return [head, ...groupNames().map(groupText)].join('\n');
}

function groupText(group: string): string {
  if (group !== 'templates')
    return `${group}:\n${rowsOf(group)
      .map((row) => settingText(row, '  '))
      .join('')}`;
  const [first = '', ...others] = Object.keys(builtInTemplates);
  return `templates:\n${templatesNote}${templateText(first, true)}${others.map((name) => templateText(name, false)).join('')}`;
}

function templateText(name: string, annotated: boolean): string {
  const { image } = builtInTemplates[name as keyof typeof builtInTemplates];
  const imageLine = `    image: ${image}\n`;
  const rest = annotated
    ? rowsOf(`templates.${name}`)
        .slice(1)
        .map((row) => settingText(row, '    '))
    : [];
  return `  ${name}:\n${imageLine}${rest.join('')}`;
}

function rowsOf(prefix: string): readonly SettingRow[] {
  return settingRows(Object.keys(builtInTemplates)).filter((row) => row.key.startsWith(`${prefix}.`));
}

function settingText({ key, description, expected, fallback, optional }: SettingRow, indent: string): string {
  const name = key.slice(key.lastIndexOf('.') + 1);
  const absent = fallback ? `${expected}; absent: ${fallback}` : expected;
  const choice = expected.startsWith('one of') ? `${description} ${expected.replace('one', 'One')}.` : description;
  const note = comment(optional ? `${description} Takes ${absent}.` : choice, indent);
  if (optional) return `${note}${indent}# ${name}:\n`;
  return `${note}${indent}${name}: ${expected.startsWith('a list') && fallback !== '[]' ? `[${fallback}]` : fallback}\n`;
}

function comment(text: string, indent: string): string {
  const lines = text.match(/.{1,100}(?=\s|$)/g) ?? [];
  return lines.map((line) => `${indent}# ${line.trim()}\n`).join('');
}
