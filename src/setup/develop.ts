// What `npm test`, `test:unit`, `test:engines`, `check`, `bench`, `soak` and `mutants` run, on a Node that is new enough.
// Only in the repository.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { readArguments } from '../cli/args.mjs';
import { ensureEngine } from './engine.ts';
import { SetupError } from './error.ts';
import { ensureImages } from './images.ts';
import { Progress } from './progress.ts';

const root = join(import.meta.dirname, '..', '..');
const logFile = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'berth', 'setup.log');

const tasks: Record<string, (rest: readonly string[]) => Promise<boolean>> = {
  check,
  test: async (rest) => {
    const engine = await prepare();
    return (rest.length > 0 || (await check())) && (await test(engine, rest));
  },
  'test:unit': (rest) => unitTests(rest),
  bench: async (rest) => program(await prepare(), 'test/bench/main.ts', rest),
  'e2e:open-webui': async (rest) => program(await prepare(), 'test/open-webui/main.ts', rest),
  'test:engines': async (rest) => run([process.execPath, 'test/engines/main.ts', ...rest]),
  soak: async (rest) => program(await prepare(), 'test/soak/main.ts', rest),
  mutants: async (rest) => program(await prepare(), 'test/mutants/main.ts', rest),
};

const { command, rest } = readArguments(process.argv.slice(2));
try {
  process.exitCode = (await tasks[command]?.(rest)) ? 0 : 1;
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`berth: ${error.message}\n`);
  process.exitCode = 1;
}

/** Makes the engine and the images ready; returns where the engine is. */
async function prepare(): Promise<string> {
  await using progress = new Progress(logFile);
  using engine = await ensureEngine(process.env, undefined, progress);
  await ensureImages(engine, progress);
  return engine.address.url;
}

async function check(): Promise<boolean> {
  // One plain line per finding where nobody looks on: with `CI` set, the long form is coloured even in a file.
  const format = process.stdout.isTTY ? [] : ['--format=unix'];
  const results = await Promise.all([
    run(['node_modules/.bin/tsc', '--noEmit']),
    run(['node_modules/.bin/oxlint', '--config', 'config/oxlint.json', '--deny-warnings', ...format, 'src', 'test']),
    run(['node_modules/.bin/prettier', '--check', '--log-level=warn', 'src', 'test', 'config', 'docker-compose.yml']),
  ]);
  return results.every(Boolean);
}

/** Two files at a time: most wait for the engine. A file that hangs ends after ten minutes. */
function test(engine: string, rest: readonly string[]): Promise<boolean> {
  const files = rest.length > 0 ? rest : globSync('test/**/*.test.ts', { cwd: root }).toSorted();
  const options = ['--test-concurrency=2', '--test-timeout=600000'];
  return run([process.execPath, '--test', ...options, ...files], { DOCKER_HOST: engine });
}

/** No set-up: these tests make and reach nothing outside their process and the temporary directory. */
function unitTests(rest: readonly string[]): Promise<boolean> {
  const files = rest.length > 0 ? rest : globSync('test/unit/**/*.test.ts', { cwd: root }).toSorted();
  return run([process.execPath, '--test', '--test-timeout=60000', ...files]);
}

async function program(engine: string, path: string, rest: readonly string[]): Promise<boolean> {
  if (!existsSync(join(root, path))) throw new SetupError(`There is no ${path}.`);
  return await run([process.execPath, path, ...rest], { DOCKER_HOST: engine });
}

/** Runs a program of the repository to its end; true when it succeeded. */
async function run(argv: readonly string[], env: Record<string, string> = {}): Promise<boolean> {
  const [file = '', ...args] = argv;
  const child = spawn(file, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...env },
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return code === 0;
}
