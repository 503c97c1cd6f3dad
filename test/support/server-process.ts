import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import Docker from 'dockerode';

/** A real server in a process of its own, so that it can be killed; its state outlives it until `dispose`. */
export class ServerProcess implements AsyncDisposable {
  readonly #env: Record<string, string>;
  readonly #state = mkdtempSync(join(tmpdir(), 'berth-test-'));
  /** Lines of its log that are errors, and what it wrote besides its log; the first hundred. */
  readonly complaints: string[] = [];
  /** Events that its log told since its last start. */
  events: string[] = [];
  #child: ChildProcess | undefined;
  #url = '';

  private constructor(env: Record<string, string>) {
    this.#env = env;
  }

  /** `env` in the settings' form, e.g. `{ BERTH_SESSION__TIMEOUT: '2' }`. */
  static async start(env: Record<string, string> = {}): Promise<ServerProcess> {
    const server = new ServerProcess({ ...env });
    await server.start();
    return server;
  }

  /** Other settings for its next start. */
  change(env: Record<string, string>): void {
    Object.assign(this.#env, env);
  }

  /** Without a path, e.g. `http://127.0.0.1:41234`. */
  get url(): string {
    return this.#url;
  }

  /** Its `server.state_dir`. */
  get stateDirectory(): string {
    return this.#state;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Starts it (again), on the port it had before. Resolves when it listens. */
  async start(): Promise<void> {
    const port = this.#url ? new URL(this.#url).port : '0';
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', resolve('src/main.ts'), 'serve'], {
      env: { ...process.env, BERTH_SERVER__PORT: port, BERTH_SERVER__STATE_DIR: this.#state, ...this.#env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.events = [];
    this.#url = await listening(child, (line) => {
      const complains = !line.startsWith('{') || /"level":"(error|fatal)"/.test(line);
      const event = /"event":"([^"]+)"/.exec(line)?.[1];
      if (event !== undefined) this.events.push(event);
      if (complains && this.complaints.length < 100) this.complaints.push(line);
    });
  }

  /** Ends it and waits until it is gone; the exit code, or the signal's name. */
  async kill(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
    child.kill(signal);
    const [code, by] = await ended;
    return code ?? by;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill('SIGKILL');
    await removeSandboxes(await this.instance());
    rmSync(this.#state, { recursive: true, force: true });
  }

  /** The label value by which the engine knows what this server made. */
  async instance(): Promise<string> {
    const { DatabaseSync } = await import('node:sqlite');
    using db = new DatabaseSync(join(this.#state, 'state.sqlite'));
    return String(db.prepare('SELECT id FROM instance').get()?.['id'] ?? 'none');
  }
}

async function listening(child: ChildProcess, onLine: (line: string) => void): Promise<string> {
  const stderr: string[] = [];
  const lines = [child.stdout, child.stderr].map((stream) =>
    createInterface({ input: stream as NodeJS.ReadableStream }),
  );
  const found = new Promise<string>((found, fail) => {
    for (const line of lines) {
      line.on('line', (text) => {
        onLine(text);
        if (stderr.push(text) > 200) stderr.shift();
        const url = /"url":"(http:[^"]+)"/.exec(text)?.[1];
        if (url) found(url.replace(/\/mcp$/, ''));
      });
    }
    child.once('exit', (code) => fail(new Error(`the server ended with ${code}:\n${stderr.join('\n')}`)));
  });
  return await found;
}

/** Removes what an instance left on the engine, by its label alone. */
export async function removeSandboxes(instance: string): Promise<void> {
  const docker = new Docker();
  const filters = { label: [`berth.instance=${instance}`] };
  for (const { Id } of await docker.listContainers({ all: true, filters })) {
    await docker
      .getContainer(Id)
      .remove({ force: true, v: false })
      .catch(() => {});
  }
  const { Volumes } = await docker.listVolumes({ filters });
  for (const { Name } of Volumes ?? [])
    await docker
      .getVolume(Name)
      .remove()
      .catch(() => {});
}
