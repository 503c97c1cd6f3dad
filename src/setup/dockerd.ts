import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { get } from 'node:http';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SetupError } from './error.ts';
import type { Step } from './progress.ts';

/** Where a daemon started by hand keeps its things. */
export interface DaemonPlace {
  readonly socket: string;
  readonly pidFile: string;
  readonly execRoot: string;
  readonly logFile: string;
  /** The program with its own arguments; where things are kept is added. */
  readonly command: readonly [string, ...string[]];
}

export const defaultPlace: DaemonPlace = {
  socket: '/var/run/docker.sock',
  pidFile: '/var/run/docker.pid',
  execRoot: '/var/run/docker',
  logFile: '/var/log/berth-dockerd.log',
  command: ['dockerd'],
};

/**
 * Starts dockerd apart from this process and waits until it answers. What a dead one left behind (pid files that name
 * no daemon, sockets nobody listens on) is cleared away first; one that lives and is only slow is waited for.
 */
export async function startDaemon(step: Step, place: DaemonPlace = defaultPlace): Promise<void> {
  await orphanedContainerd(place);
  clearLeftovers(place);
  const from = sizeOf(place.logFile);
  const child = isAlive(place.pidFile, 'dockerd') ? undefined : launch(place);
  await answers(step, { ...place, from }, child);
}

const containerdPid = ({ execRoot }: DaemonPlace) => join(execRoot, 'containerd', 'containerd.pid');

/**
 * A killed daemon's containerd dies with it, a moment later. A new daemon that still sees it relies on it and then
 * waits in vain; one that outlives this wait is sound, and will be taken over.
 */
async function orphanedContainerd(place: DaemonPlace): Promise<void> {
  if (isAlive(place.pidFile, 'dockerd')) return;
  for (const deadline = Date.now() + 2000; Date.now() < deadline; await sleep(50)) {
    if (!isAlive(containerdPid(place), 'containerd')) return;
  }
}

/** Removes what would make a new daemon believe that an old one runs. */
function clearLeftovers(place: DaemonPlace): void {
  const { pidFile, socket } = place;
  const containerd = containerdPid(place);
  if (!isAlive(containerd, 'containerd')) rmSync(containerd, { force: true });
  if (isAlive(pidFile, 'dockerd')) return;
  rmSync(pidFile, { force: true });
  rmSync(socket, { force: true });
}

/** Whether a pid file names a living process of that program: a pid is soon some other process's. */
export function isAlive(pidFile: string, program: string): boolean {
  try {
    const pid = Number.parseInt(readFileSync(pidFile, 'utf8'));
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === program && !isZombie(pid);
  } catch {
    return false;
  }
}

function isZombie(pid: number): boolean {
  return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

function launch({ socket, pidFile, execRoot, logFile, command }: DaemonPlace): ChildProcess {
  for (const directory of [dirname(logFile), execRoot]) mkdirSync(directory, { recursive: true });
  const log = openSync(logFile, 'a', 0o600);
  const [program, ...args] = command;
  const places = [`--host=unix://${socket}`, `--pidfile=${pidFile}`, `--exec-root=${execRoot}`];
  const child = spawn(program, [...args, ...places], { detached: true, stdio: ['ignore', log, log], cwd: '/' });
  closeSync(log);
  child.unref();
  return child;
}

const sizeOf = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;

function writtenSince(file: string, from: number): string {
  return existsSync(file) ? readFileSync(file).subarray(from).toString() : '';
}

/** `from`: where in the log this start begins. */
interface Start extends DaemonPlace {
  readonly from: number;
}

async function answers(step: Step, { socket, logFile, from }: Start, child?: ChildProcess): Promise<void> {
  let failure: string | undefined;
  child?.once('error', ({ message }) => (failure = message));
  child?.once('exit', (code, signal) => (failure = `dockerd ended (${signal ?? code})`));
  for (const deadline = Date.now() + 60_000; Date.now() < deadline && failure === undefined; await sleep(100)) {
    if (await pings(socket)) return;
    step.signal.throwIfAborted();
    step.detail('waiting for dockerd');
  }
  const said = complaint(writtenSince(logFile, from));
  throw new SetupError(`Docker did not start: ${failure ?? 'no answer for 60 s'}.\nThe end of ${logFile}:\n${said}`);
}

/** A daemon listens long before it answers. */
function pings(socketPath: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const request = get({ socketPath, path: '/_ping', timeout: 2000, agent: false }, (response) => {
    response.resume();
    resolve(response.statusCode === 200);
  });
  request.on('timeout', () => request.destroy(new Error('no answer')));
  request.on('error', () => resolve(false));
  return promise;
}

/** What the daemon wrote in this start; a newer one puts all its flags below the one sentence that matters. */
export function complaint(written: string): string {
  const [said = ''] = written.split(/^Usage:/m, 1);
  const lines = said.trimEnd().split('\n').slice(-4);
  return lines.map((line) => line.slice(0, 300)).join('\n');
}
