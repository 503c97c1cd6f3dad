#!/usr/bin/env node
// Plain JavaScript without dependencies: it runs on Node 20 and brings what the rest of Berth needs.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { UsageError, commands, help, readArguments } from '../cli/args.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const wantedNode = 24;

try {
  await start(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`berth: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(error instanceof UsageError ? 2 : 1);
}

/** @param {string[]} argv */
async function start(argv) {
  const { command, rest } = readArguments(argv);
  if (command === 'help') return void process.stdout.write(`${help(rest[0])}\n`);
  if (command === 'version') return void process.stdout.write(`${readJson('package.json').version}\n`);
  const development = commands[command]?.development ?? false;
  if (development && !isCheckout()) {
    throw new UsageError(`"berth ${command}" needs the repository: this is the installed package.`);
  }
  ensureDependencies(development);
  const node = ensureNode();
  const program = entry(development);
  if (node !== process.execPath) return runOn(node, [program, ...argv]);
  process.argv = [node, program, ...argv];
  await import(pathToFileURL(program).href);
}

/** @param {string} path */
function readJson(path) {
  return JSON.parse(readFileSync(join(root, path), 'utf8'));
}

/** Node does not strip types below node_modules: an installed package runs its compiled form. */
function isCheckout() {
  return !root.split(sep).includes('node_modules') && existsSync(join(root, 'src', 'main.ts'));
}

/** @param {boolean} development */
function entry(development) {
  if (!isCheckout()) return join(root, 'dist', 'main.js');
  return join(root, 'src', development ? 'setup/develop.ts' : 'main.ts');
}

/** Installs the packages of the lock file, unless what is installed is what it names. @param {boolean} development */
function ensureDependencies(development) {
  if (!isCheckout() || !existsSync(join(root, 'package-lock.json')) || isInstalled(development)) return;
  say('installing npm packages');
  npm(['ci', '--ignore-scripts', ...(development ? [] : ['--omit=dev'])]);
}

/** @param {boolean} development */
function isInstalled(development) {
  if (!existsSync(join(root, 'node_modules', '.package-lock.json'))) return false;
  const wanted = readJson('package-lock.json').packages;
  const found = readJson('node_modules/.package-lock.json').packages;
  return Object.entries(wanted).every(([path, { version, optional, dev, devOptional }]) => {
    if (path === '' || optional || ((dev || devOptional) && !development)) return true;
    return found[path]?.version === version;
  });
}

/** The path of a Node that is new enough: this one, or a copy from the npm registry kept in the user's cache. */
function ensureNode() {
  if (Number.parseInt(process.versions.node) >= wantedNode) return process.execPath;
  const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'berth');
  const name = `node-${process.platform}-${process.arch}`;
  const home = join(cache, `node${wantedNode}`);
  const binary = join('node_modules', name, 'bin', 'node');
  if (!works(join(home, binary))) installNode(name, cache, home, binary);
  return join(home, binary);
}

/**
 * Installs beside its place and moves it there whole, so that an install cut short leaves nothing that looks right.
 * @param {string} name @param {string} cache @param {string} home @param {string} binary
 */
function installNode(name, cache, home, binary) {
  say(`fetching Node ${wantedNode} (this is ${process.versions.node})`);
  mkdirSync(cache, { recursive: true });
  const temporary = mkdtempSync(join(cache, 'node-'));
  try {
    npm(['install', '--prefix', temporary, '--no-save', '--no-package-lock', `${name}@${wantedNode}`]);
    if (!works(join(temporary, binary))) throw new Error(`the package ${name} does not run on this machine`);
    rmSync(home, { recursive: true, force: true });
    renameSync(temporary, home);
  } catch (error) {
    throw new Error(`Berth needs Node ${wantedNode} or newer and could not fetch it; install it and try again.`, {
      cause: error,
    });
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** @param {string} node */
function works(node) {
  return existsSync(node) && spawnSync(node, ['--version']).status === 0;
}

/** @param {string[]} args */
function npm(args) {
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
  const script = process.env['npm_execpath'];
  const [file, first] = script?.endsWith('.js') ? [process.execPath, [script]] : ['npm', []];
  const { status, error } = spawnSync(file, [...first, ...args, ...quiet], { cwd: root, stdio: ['ignore', 2, 2] });
  if (status === 0) return;
  const why = error ? error.message : `exit code ${status}`;
  throw new Error(`"npm ${args.join(' ')}" failed (${why}).`);
}

/**
 * Runs the real program and ends as it ends. A terminal's Ctrl-C reaches both processes, so it is passed on only
 * where there is no terminal.
 * @param {string} node @param {string[]} args
 */
function runOn(node, args) {
  const child = spawn(node, args, { stdio: 'inherit' });
  process.on('SIGINT', () => process.stdin.isTTY || child.kill('SIGINT'));
  for (const signal of /** @type {const} */ (['SIGTERM', 'SIGHUP', 'SIGQUIT']))
    process.on(signal, () => child.kill(signal));
  child.on('error', (error) => end(1, `could not start ${node}: ${error.message}`));
  child.on('exit', (code, signal) => (signal ? endBySignal(signal) : end(code ?? 1)));
}

/** @param {number} code @param {string} [message] */
function end(code, message) {
  if (message) process.stderr.write(`berth: ${message}\n`);
  process.exit(code);
}

/** @param {NodeJS.Signals} signal */
function endBySignal(signal) {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

/** @param {string} text */
function say(text) {
  process.stderr.write(`berth: ${text} …\n`);
}
