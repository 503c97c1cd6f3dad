// Breaks each defence once, and runs the test that has to notice. What was broken and not noticed is a survivor.
// `npm run mutants [-- WORD …]`: only those in whose name, file or test one of the words occurs.
import { spawn, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { callers } from './callers.ts';
import { container } from './container.ts';
import { guard } from './guard.ts';
import { limits } from './limits.ts';
import type { Mutant } from './mutant.ts';
import { network } from './network.ts';
import { records } from './records.ts';

const root = join(import.meta.dirname, '..', '..');
/** Milliseconds after which a test that has no end has noticed something. */
const longest = 400_000;
const left = new Set(['.git', 'node_modules', 'dist']);
const words = process.argv.slice(2);
const wanted = ({ name, file, test }: Mutant) => words.some((word) => `${name} ${file} ${test}`.includes(word));
const all = [...container, ...network, ...callers, ...limits, ...records, ...guard];
const chosen = words.length > 0 ? all.filter(wanted) : all;

const tree = mkdtempSync(join(tmpdir(), 'berth-mutants-'));
const faults: string[] = [];
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
/** Ends the test that runs, with all that it started. */
let stop = (): unknown => undefined;
process.once('exit', () => {
  stop();
  rmSync(tree, { recursive: true, force: true });
});
cpSync(root, tree, { recursive: true, filter: (path) => !left.has(basename(path)) });
symlinkSync(join(root, 'node_modules'), join(tree, 'node_modules'));

console.log(`${chosen.length} mutants`);
for (const [test, mutants] of Map.groupBy(chosen, (mutant) => mutant.test)) await tryAll(test, mutants);
for (const fault of faults) console.log(fault);
console.log(`${chosen.length - faults.length} of ${chosen.length} were noticed`);
process.exitCode = faults.length > 0 ? 1 : 0;

/** A test that fails on sound code would notice anything. */
async function tryAll(test: string, mutants: readonly Mutant[]): Promise<void> {
  const sound = await failureOf(test);
  for (const mutant of mutants) {
    const verdict = sound === undefined ? await attempt(mutant) : `${test} fails without it: ${sound}`;
    if (verdict !== undefined) faults.push(`survivor: ${mutant.name} (${mutant.file}): ${verdict}`);
  }
}

/** Why the mutant proves nothing; `undefined` when its test noticed. */
async function attempt({ name, file, from, to, test }: Mutant): Promise<string | undefined> {
  const path = join(tree, file);
  const sound = readFileSync(path, 'utf8');
  if (sound.split(from).length !== 2) return `the text to replace is there ${sound.split(from).length - 1} times`;
  const broken = sound.replace(from, () => to);
  const nonsense = syntaxErrorOf(file, broken);
  if (nonsense !== undefined) return nonsense;
  const begun = performance.now();
  try {
    writeFileSync(path, broken);
    const noticed = await failureOf(test);
    const took = `${((performance.now() - begun) / 1000).toFixed(1)} s`;
    console.log(`${noticed === undefined ? 'SURVIVED' : 'noticed '}  ${took.padStart(7)}  ${name}: ${noticed ?? test}`);
    return noticed === undefined ? `${test} passes` : undefined;
  } finally {
    writeFileSync(path, sound);
  }
}

/** What cannot be read would be noticed by every test. */
function syntaxErrorOf(file: string, code: string): string | undefined {
  try {
    if (file.endsWith('.json')) JSON.parse(code);
    else stripTypeScriptTypes(code);
    return undefined;
  } catch (error) {
    return `it is no code: ${(error as Error).message}`;
  }
}

/** The name of the first test of a file that fails; `undefined` when all pass. */
async function failureOf(test: string): Promise<string | undefined> {
  const options = ['--disable-warning=ExperimentalWarning', '--test', '--test-reporter=tap'];
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
  const stdio: StdioOptions = ['ignore', 'pipe', 'ignore'];
  const child = spawn(process.execPath, [...options, test], { cwd: tree, env, stdio, detached: true });
  stop = () => child.exitCode === null && child.signalCode === null && process.kill(-(child.pid ?? 0), 'SIGKILL');
  const late = setTimeout(() => stop(), longest);
  const [output, [code]] = await Promise.all([text(child.stdout!), once(child, 'close')]);
  clearTimeout(late);
  if (code === 0) return undefined;
  const failed = output.split('\n').flatMap((line) => /^ *not ok \d+ - (.*)/.exec(line)?.[1] ?? []);
  return failed[0] ?? (code === null ? 'it had no end' : `exit code ${String(code)}`);
}
