import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { hasProgram } from '../../src/setup/apt.ts';
import type { FarCall } from './far-client.ts';

/** Why there can be no far host; `false` where there can. */
export const noFarHost = process.getuid?.() !== 0 || !hasProgram('ip') ? 'needs root and iproute2' : false;

const ip = (...args: string[]) => void execFileSync('ip', args, { stdio: 'pipe' });

/** A host behind a cable that can be cut: a network namespace, and the one link to it. */
export class FarHost implements AsyncDisposable {
  readonly #name = `berth-far-${process.pid}`;
  readonly #cable = `bfar${process.pid}`;
  // Of the addresses for tests of networks (RFC 2544).
  readonly #net = `198.18.${process.pid % 256}`;
  #client: ChildProcess | undefined;

  constructor() {
    ip('netns', 'add', this.#name);
    ip('link', 'add', this.#cable, 'type', 'veth', 'peer', 'name', 'cable', 'netns', this.#name);
    ip('addr', 'add', `${this.here}/30`, 'dev', this.#cable);
    ip('link', 'set', this.#cable, 'up');
    ip('-n', this.#name, 'addr', 'add', `${this.#there}/30`, 'dev', 'cable');
    ip('-n', this.#name, 'link', 'set', 'cable', 'up');
  }

  /** This machine, as it is reached from there. */
  get here(): string {
    return `${this.#net}.1`;
  }

  get #there(): string {
    return `${this.#net}.2`;
  }

  /** Makes connections to a port of this machine, and resolves when each is as far as its call says. */
  async connect(port: number, calls: readonly FarCall[]): Promise<void> {
    const program = [process.execPath, '--disable-warning=ExperimentalWarning', resolve('test/support/far-client.ts')];
    const argv = ['netns', 'exec', this.#name, ...program, this.here, String(port)];
    const child = spawn('ip', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#client = child;
    for (const call of calls) child.stdin.write(`${JSON.stringify(call)}\n`);
    const missing = new Set(calls.map(({ name }) => name));
    for await (const name of createInterface({ input: child.stdout })) {
      missing.delete(name);
      if (missing.size === 0) return;
    }
    throw new Error(`no answer to ${[...missing].join(', ')}`);
  }

  /** What passes neither this nor that way any more, and nobody is told. */
  cut(): void {
    ip('-n', this.#name, 'link', 'set', 'cable', 'down');
  }

  /** Connections from there that a program of this machine holds, on a port of it. */
  connections(port: number): number {
    const lines = readFileSync('/proc/net/tcp', 'utf8').split('\n');
    const remote = this.#there.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
    const ours = `:${port.toString(16).padStart(4, '0')} ${remote.toReversed().join('')}:`.toUpperCase();
    // The last field in use is the inode of the file, none once the program has let go.
    return lines.filter((line) => line.includes(ours) && line.trim().split(/\s+/)[9] !== '0').length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const client = this.#client;
    if (client && client.exitCode === null) {
      const ended = once(client, 'exit');
      client.kill('SIGKILL');
      await ended;
    }
    ip('netns', 'del', this.#name);
  }
}
