import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import test from 'node:test';

const root = join(import.meta.dirname, '..', '..');
const open = new Set(['errors', 'log', 'lib']);
const divided = new Set(['api', 'runtimes', 'sandbox']);

/** The room of a file of `src/`: its folder, two deep in the divided ones; a file of `src/` itself is a room. */
function roomOf(path: string): string {
  const [first = '', second, third] = path.split('/').slice(1);
  if (second === undefined) return first.replace(/\.\w+$/, '');
  return divided.has(first) && third !== undefined ? `${first}/${second}` : first;
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  const specifiers = text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'(\.[^']+)'/g);
  return [...specifiers].map(([, to = '']) => roomOf(relative(root, join(root, dirname(file), to))));
}

/** The rooms that each room imports, as the code has it. */
function built(): Map<string, Set<string>> {
  const rooms = new Map<string, Set<string>>();
  for (const file of globSync('src/**/*.{ts,mjs}', { cwd: root })) {
    const room = roomOf(file);
    const imported = rooms.get(room) ?? new Set();
    for (const other of importsOf(file)) if (other !== room && !open.has(other)) imported.add(other);
    rooms.set(room, imported);
  }
  return rooms;
}

/** The rooms that each room may import, as docs/architecture.md has it. */
function written(): Map<string, Set<string>> {
  const document = readFileSync(join(root, 'docs/architecture.md'), 'utf8');
  const [, table = ''] = /<!-- rooms:begin -->\n([^]*?)<!-- rooms:end -->/.exec(document) ?? [];
  const rows = [...table.matchAll(/^\| `([\w/-]+)` \|[^|]*\|([^|]*)\|$/gm)];
  return new Map(rows.map(([, room = '', may = '']) => [room, new Set(may.match(/[\w/-]{2,}/g))]));
}

test('each room imports the rooms that docs/architecture.md names, and no other', () => {
  const [code, table] = [built(), written()];
  const sorted = (rooms: Set<string> | undefined) => [...(rooms ?? [])].toSorted().join(' ');
  for (const [room, imported] of code) {
    if (open.has(room)) assert.equal(sorted(imported), '', `${room} is open to all and may import no other room`);
    else assert.equal(sorted(table.get(room)), sorted(imported), `the row of ${room}`);
  }
  for (const room of table.keys()) assert.ok(code.has(room), `there is no room ${room}`);
});
