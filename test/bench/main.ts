import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import Docker from 'dockerode';
import { files } from './files.ts';
import { idle } from './idle.ts';
import { known } from './known.ts';
import { pace } from './pace.ts';
import { restart } from './restart.ts';
import { shell } from './shell.ts';
import { start } from './start.ts';
import { markdown, ratio, reached, type Row } from './table.ts';

const suites: Record<string, () => Promise<Row[]>> = { shell, pace, start, idle, restart, known, files };

const asked = process.argv.slice(2);
const unknown = asked.find((name) => !Object.hasOwn(suites, name));
if (unknown !== undefined) {
  console.error(`bench: expected some of ${Object.keys(suites).join(', ')}, got "${unknown}"`);
  process.exit(2);
}

const rows: Row[] = [];
for (const [name, suite] of Object.entries(suites)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  console.error(`${name} …`);
  rows.push(...(await suite()));
}
const { ServerVersion, Driver, CgroupVersion } = (await new Docker().info()) as Record<string, string>;
const machine = `${availableParallelism()} × ${cpus()[0]?.model}, ${Math.round(totalmem() / 1024 ** 3)} GiB, Docker ${ServerVersion} (${Driver}, cgroup v${CgroupVersion}), Node ${process.version}`;
console.log(`${markdown(rows)}\n\n${machine}`);
const results = {
  machine,
  date: new Date().toISOString(),
  rows: rows.map((row) => ({ ...row, ratio: ratio(row), reached: reached(row) })),
};
writeFileSync('bench.json', `${JSON.stringify(results, null, 2)}\n`);
process.exit(0);
