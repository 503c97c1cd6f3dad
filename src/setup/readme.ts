import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exampleFile } from '../config/example.ts';
import { settingRows } from '../config/tree.ts';
import { toolTable } from '../api/mcp/tool-set.ts';

/** A tracked file that is generated, in whole or between markers. */
export interface Generated {
  readonly path: string;
  /** `undefined` where there is no such file. */
  readonly current: string | undefined;
  /** `undefined` where there is nothing to write. */
  readonly wanted: string | undefined;
}

const root = join(import.meta.dirname, '..', '..');

/** The tables of the documentation and the annotated settings file, as they are and as they should be. */
export function generatedFiles(): readonly Generated[] {
  return [
    { path: 'config/berth.yaml', current: read('config/berth.yaml'), wanted: exampleFile() },
    document('docs/settings.md', { settings: settingsTable() }),
    document('docs/tools.md', { tools: toolTable() }),
  ];
}

function document(path: string, sections: Readonly<Record<string, string>>): Generated {
  const current = read(path);
  return { path, current, wanted: current && withSections(current, sections) };
}

function read(path: string): string | undefined {
  const file = join(root, path);
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

/** Puts each text between `<!-- name:begin -->` and `<!-- name:end -->`; a name without markers is left out. */
export function withSections(document: string, sections: Readonly<Record<string, string>>): string {
  return Object.entries(sections).reduce((text, [name, body]) => withSection(text, name, body), document);
}

function withSection(text: string, name: string, body: string): string {
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  const from = text.indexOf(begin);
  const to = text.indexOf(end, from);
  if (from < 0 || to < 0) return text;
  return `${text.slice(0, from + begin.length)}\n${body}\n${text.slice(to)}`;
}

/** Every setting as a Markdown table. */
export function settingsTable(): string {
  const rows = settingRows().map(
    ({ key, fallback, expected, description }) =>
      `| \`${key}\` | ${fallbackCell(fallback)} | ${cell(briefly(expected))} | ${cell(description)} |`,
  );
  return ['| setting | default | takes | meaning |', '| --- | --- | --- | --- |', ...rows].join('\n');
}

/** Defaults in words stay as they are; values are code. */
function fallbackCell(fallback: string): string {
  if (fallback === '') return '–';
  const inWords = fallback.includes('`') || /^(the|from|must) |^–$/.test(fallback);
  return inWords ? cell(fallback) : `\`${fallback}\``;
}

/** Without the other spellings, which the text above the table names once. */
const briefly = (expected: string): string => expected.replace(/ \(or [^)]*\)/, '');

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');

/** Writes what is stale, or with `check` only names it. The paths that were stale. */
export function generate(check: boolean): readonly string[] {
  const stale = generatedFiles().filter(({ current, wanted }) => wanted !== undefined && wanted !== current);
  if (!check) for (const { path, wanted = '' } of stale) writeFileSync(join(root, path), wanted);
  return stale.map(({ path }) => path);
}

if (import.meta.main) {
  const check = process.argv.includes('--check');
  const stale = generate(check);
  for (const path of stale)
    process.stdout.write(`${path}: ${check ? 'stale; run node src/setup/readme.ts' : 'written'}\n`);
  process.exitCode = check && stale.length > 0 ? 1 : 0;
}
