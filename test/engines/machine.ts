import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';

const root = join(import.meta.dirname, '..', '..');
/** The Node that runs this, with its npm. */
const node = join(dirname(process.execPath), '..');

export interface Answer {
  readonly code: number;
  readonly output: string;
}

/** A machine of namespaces on a disk of its own: its engine, its processes and its network are nobody else's. */
export class Machine implements AsyncDisposable {
  readonly #home: string;
  readonly #name: string;
  readonly #shell: ChildProcess;
  readonly #network: ChildProcess;
  readonly #pid: number;

  private constructor(home: string, name: string, shell: ChildProcess) {
    this.#home = home;
    this.#name = name;
    this.#shell = shell;
    this.#pid = childOf(shell.pid!);
    const options = ['--configure', '--mtu=1400', '--disable-host-loopback'];
    this.#network = spawn('slirp4netns', [...options, String(this.#pid), 'tap0'], { stdio: 'ignore' });
  }

  /** Starts one in `directory`, which must be on a file system that overlays can be made on. */
  static async start(disk: string, directory: string, name: string): Promise<Machine> {
    const home = join(directory, name);
    mkdirSync(home, { recursive: true });
    const args = [join(import.meta.dirname, 'machine.sh'), disk, home, name, root, node];
    const shell = spawn('bash', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const [word] = await Promise.race([once(shell.stdout, 'data'), once(shell, 'exit')]);
    if (String(word) !== 'up\n') throw new Error(`the machine ${name} did not start`);
    return new Machine(home, name, shell);
  }

  /** Runs a script of bash in the machine; what it wrote on both streams. Ends it after `seconds`. */
  async run(script: string, seconds = 300): Promise<Answer> {
    const join = `for group in /sys/fs/cgroup/${this.#name} /sys/fs/cgroup/*/${this.#name}; do
      [ ! -e "$group/cgroup.procs" ] || echo $$ > "$group/cgroup.procs"; done; exec "$@"`;
    const enter = ['nsenter', `--target=${this.#pid}`, '--all', '--root', '--wd'];
    const clean = ['env', '-i', 'HOME=/root', 'TERM=dumb', 'LANG=C.UTF-8', `PATH=${path}`, 'bash', '-c'];
    const timed = ['timeout', '--signal=KILL', String(seconds)];
    const argv = ['-c', join, 'sh', ...timed, ...enter, ...clean, `exec 2>&1; cd /root/berth\n${script}`];
    const child = spawn('sh', argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (data) => (output += String(data)));
    // What it starts in the background may keep the stream open.
    const [code] = (await once(child, 'exit')) as [number | null];
    return { code: code ?? 137, output };
  }

  /** Where this host has a file of the machine's `tmp`. */
  path(name: string): string {
    return join(this.#home, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#shell, 'exit');
    process.kill(this.#pid, 'SIGKILL');
    await ended;
    this.#network.kill();
    const groups = `find /sys/fs/cgroup -depth -type d -path "*/${this.#name}*" -exec rmdir {} + 2> /dev/null || true`;
    execFileSync('sh', ['-c', groups]);
    rmSync(this.#home, { recursive: true, force: true, maxRetries: 5, retryDelay: 500 });
  }
}

const path = '/opt/node/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

function childOf(pid: number): number {
  return Number.parseInt(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'));
}
