// `npm run test:engines [WORD …]`: tries Berth on the engines of `variants.ts` (those whose name has a word), each on a
// machine of its own, and writes what it saw to docs/engines.md.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Disks } from './disks.ts';
import { Machine } from './machine.ts';
import { type Cell, type Column, columns, tryAll } from './trials.ts';
import { type Variant, variants } from './variants.ts';

const root = join(import.meta.dirname, '..', '..');
const page = join(root, 'docs', 'engines.md');
const place = process.env['BERTH_ENGINES_DIR'] ?? '/var/tmp/berth-engines';

if (process.getuid?.() !== 0) throw new Error('test:engines makes machines of namespaces, which takes root');
const words = process.argv.slice(2);
const chosen = variants.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)));
mkdirSync(place, { recursive: true });
const disks = new Disks(place);
for (const variant of chosen) {
  process.stderr.write(`${variant.name} …\n`);
  const row = await tried(variant);
  process.stderr.write(`${row}\n`);
  writePage(variant.name, row);
}

async function tried(variant: Variant): Promise<string> {
  try {
    const disk = variant.disk === 'stable' ? disks.stable() : disks.next();
    await using machine = await Machine.start(disk, place, `berth-engine-${variants.indexOf(variant)}`);
    return line(variant, await tryAll(machine, variant, join(place, `images-${variant.disk}.tar`)));
  } catch (error) {
    return line(variant, new Map([['berth up', `not tried: ${(error as Error).message.trim().split('\n').at(-1)}`]]));
  }
}

function line({ name }: Variant, cells: ReadonlyMap<Column, Cell>): string {
  const texts = columns.map((column) => (cells.get(column) ?? '–').replaceAll('|', '/').replaceAll('\n', ' '));
  return `| ${[name, ...texts].join(' | ')} |`;
}

/** The rows of earlier runs, by name. */
function readRows(): [string, string][] {
  const found = readFileSync(page, 'utf8').split('<!-- engines:begin -->')[1]?.split('\n') ?? [];
  return found.flatMap((row) => {
    const name = /^\| ([^|]+) \|/.exec(row)?.[1];
    return name !== undefined && variants.some((variant) => variant.name === name) ? [[name, row] as const] : [];
  }) as [string, string][];
}

function writePage(name: string, row: string): void {
  const rows = new Map([...readRows(), [name, row]]);
  const head = [`| engine | ${columns.join(' | ')} |`, `|${' --- |'.repeat(columns.length + 1)}`];
  const body = variants.flatMap(({ name }) => rows.get(name) ?? []);
  const table = ['', ...head, ...body, ''].join('\n');
  const text = readFileSync(page, 'utf8');
  writeFileSync(page, text.replace(/(<!-- engines:begin -->\n)[^]*(\n<!-- engines:end -->)/, `$1${table}$2`));
}
