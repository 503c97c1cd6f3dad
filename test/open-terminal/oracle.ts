// Compares the recorded shapes with a fresh `open-terminal`: node test/open-terminal/oracle.ts URL KEY [record]
import { readFileSync, writeFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { shapesOf } from './shapes.ts';

const file = new URL('open-terminal-shapes.json', import.meta.url);
const [url = '', key = '', mode] = process.argv.slice(2);
const shapes = await shapesOf(url, { authorization: `Bearer ${key}` });

if (mode === 'record') {
  writeFileSync(file, `${JSON.stringify(shapes, null, 2)}\n`);
} else {
  const recorded = JSON.parse(readFileSync(file, 'utf8')) as typeof shapes;
  const changed = Object.keys(shapes).filter((name) => !isDeepStrictEqual(shapes[name], recorded[name]));
  for (const name of changed)
    process.stdout.write(`${name}: ${JSON.stringify(shapes[name])}, recorded ${JSON.stringify(recorded[name])}\n`);
  process.exitCode = changed.length > 0 ? 1 : 0;
}
