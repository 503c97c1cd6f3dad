import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Docker from 'dockerode';
import { hasProgram } from '../../src/setup/apt.ts';
import { type DaemonPlace, isAlive, startDaemon } from '../../src/setup/dockerd.ts';
import { Progress } from '../../src/setup/progress.ts';
import { engine as sharedEngine } from './docker-runtime.ts';

const MiB = 1024 ** 2;

/** Why there can be no engine of a test's own; `false` where there can. */
export const noOwnEngine = process.getuid?.() !== 0 || !hasProgram('dockerd') ? 'needs root and dockerd' : false;

/**
 * A dockerd of a test's own, to be stopped, killed and filled: its data on a small file system, its network a namespace
 * without a bridge, so that the machine's own engine and its rules are left alone.
 */
export class OwnEngine implements AsyncDisposable {
  readonly #home = mkdtempSync(join(tmpdir(), 'berth-engine-'));
  readonly #data = join(this.#home, 'data');
  readonly #place = {
    socket: join(this.#home, 'docker.sock'),
    pidFile: join(this.#home, 'docker.pid'),
    execRoot: join(this.#home, 'exec'),
    logFile: join(this.#home, 'dockerd.log'),
  };
  readonly docker = new Docker({ socketPath: this.#place.socket });

  /** `size` in MiB. */
  constructor(size: number) {
    const image = join(this.#home, 'data.ext4');
    writeFileSync(image, '');
    truncateSync(image, size * MiB);
    mkdirSync(this.#data);
    execFileSync('mkfs.ext4', ['-q', '-m', '0', '-F', image]);
    execFileSync('mount', ['-o', 'loop', image, this.#data]);
  }

  /** The value for `docker.host`. */
  get host(): string {
    return `unix://${this.#place.socket}`;
  }

  async start(...flags: string[]): Promise<void> {
    const own = ['--bridge=none', '--iptables=false', '--ip-masq=false', `--data-root=${this.#data}`, ...flags];
    const place: DaemonPlace = { ...this.#place, command: ['unshare', '--net', 'dockerd', ...own] };
    await using progress = new Progress(join(this.#home, 'setup.log'));
    await progress.step('start', (step) => startDaemon(step, place));
  }

  /** Copies images from the machine's own engine. */
  async load(...images: string[]): Promise<void> {
    for (const image of images) {
      const loading = await this.docker.loadImage(await sharedEngine().getImage(image).get());
      for await (const _ of loading as AsyncIterable<unknown>);
    }
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.#pid(), signal);
  }

  /** Sends a signal that ends it, and waits until it is gone. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.signal(signal);
    while (isAlive(this.#place.pidFile, 'dockerd')) await sleep(20);
  }

  /** Leaves no byte for data. */
  fill(): void {
    execFileSync('sh', ['-c', 'cat /dev/zero >"$0" 2>/dev/null || true', join(this.#data, 'filler')]);
  }

  makeRoom(): void {
    rmSync(join(this.#data, 'filler'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (isAlive(this.#place.pidFile, 'dockerd')) {
      this.signal('SIGCONT');
      rmSync(join(this.#data, 'filler'), { force: true });
      await this.#removeContainers();
      await this.end('SIGTERM');
    }
    for (const mount of this.#mounts()) execFileSync('umount', ['--lazy', mount]);
    rmSync(this.#home, { recursive: true, force: true, maxRetries: 5 });
  }

  /** All below its home, the innermost first. */
  #mounts(): string[] {
    const points = readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[1] ?? '');
    return points.filter((point) => point.startsWith(`${this.#home}/`)).toReversed();
  }

  async #removeContainers(): Promise<void> {
    for (const { Id } of await this.docker.listContainers({ all: true }))
      await this.docker
        .getContainer(Id)
        .remove({ force: true, v: true })
        .catch(() => {});
  }

  #pid(): number {
    if (!existsSync(this.#place.pidFile)) throw new Error('the engine does not run');
    return Number.parseInt(readFileSync(this.#place.pidFile, 'utf8'));
  }
}
