import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { eventually } from '../support/run.ts';
import { removeSandboxes } from '../support/server-process.ts';

const state = mkdtempSync(join(tmpdir(), 'berth-up-'));
after(() => rmSync(state, { recursive: true, force: true }));

const itself = [process.execPath, 'src/setup/bootstrap.mjs', 'up'];

/** `berth up` in a process of its own, as a person starts it. */
class Up implements AsyncDisposable {
  readonly child: ChildProcess;
  text = '';

  constructor(flags: readonly string[], env: Record<string, string> = {}, program: readonly string[] = itself) {
    const [file = '', ...words] = program;
    this.child = spawn(file, [...words, ...flags], {
      env: { ...process.env, BERTH_SERVER__STATE_DIR: state, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, so that nothing of it is left behind.
      detached: true,
    });
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.on('data', (data) => (this.text += String(data)));
  }

  /** Resolves when that much was said; rejects when the process ends without. */
  async said(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.text);
      if (match) return match;
      if (this.child.exitCode !== null) assert.fail(`it ended with ${this.child.exitCode}:\n${this.text}`);
      await Promise.race([
        once(this.child.stdout!, 'data'),
        once(this.child.stderr!, 'data'),
        once(this.child, 'exit'),
      ]);
    }
  }

  async ended(): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'close');
    return this.child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#killGroup();
    await this.ended();
    const log = join(state, 'berth.log');
    const instance = existsSync(log) && /"instance":"([^"]+)"/.exec(readFileSync(log, 'utf8'))?.[1];
    if (instance) await removeSandboxes(instance);
  }

  #killGroup(): void {
    try {
      process.kill(-(this.child.pid ?? Number.NaN), 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

const port = (url: string) => new URL(url).port;

describe('berth up', () => {
  test('proves itself, says how to connect, and stops without a trace', async () => {
    await using berth = new Up(['--port', '0']);
    const [, url = ''] = await berth.said(/ready at (\S+) \(a command ran in a fresh sandbox within \d+\.\d s\)/);
    await berth.said(/Ctrl-C stops/);
    const client = /\{[\s\S]*\n\}/.exec(berth.text)?.[0] ?? '';
    assert.deepEqual(JSON.parse(client), { mcpServers: { berth: { type: 'http', url } } });
    assert.equal((await fetch(new URL('/health', url))).status, 200);

    await using second = new Up(['--port', port(url)]);
    assert.equal(await second.ended(), 1);
    assert.equal(
      second.text,
      `berth: Port ${port(url)} on 127.0.0.1 is taken, maybe by a Berth that runs already; stop it, or choose another with --port.\n`,
    );

    berth.child.kill('SIGINT');
    assert.equal(await berth.ended(), 0);
    assert.match(berth.text, /Stopped\. No sandbox is left running\.\n$/);
    await assert.rejects(fetch(url));
  });

  test('ends with the npm that runs it, as a supervisor ends it', async () => {
    await using berth = new Up(['--port', '0'], {}, ['npm', 'run', 'up', '--']);
    const [, url = ''] = await berth.said(/ready at (\S+) \(a command ran/);
    berth.child.kill('SIGTERM');
    const gone = () =>
      fetch(url).then(
        () => false,
        () => true,
      );
    await eventually(gone);
  });

  test('with keys, proves itself by one that nobody ever sees', async () => {
    await using berth = new Up(['--port', '0'], { BERTH_AUTH__KEYS: 'ann=0123456789abcdef0123456789abcdef' });
    const [, url = ''] = await berth.said(/ready at (\S+) \(a command ran/);
    await berth.said(/"Authorization": "Bearer YOUR-KEY"/);
    assert.equal((await fetch(url, { method: 'POST', body: '{}' })).status, 401);
    berth.child.kill('SIGTERM');
    assert.equal(await berth.ended(), 0);
  });

  test('says in two lines what to do about an engine that does not answer', async () => {
    await using berth = new Up(['--port', '0'], { DOCKER_HOST: 'unix:///nonexistent/docker.sock' });
    assert.equal(await berth.ended(), 1);
    assert.equal(
      berth.text,
      'berth: No Docker engine answers at unix:///nonexistent/docker.sock (DOCKER_HOST: ENOENT).\n' +
        'Start that engine, or correct DOCKER_HOST, and try again.\n',
    );
  });

  test('is refused settings and flags by name', async () => {
    await using wrong = new Up(['--prot', '1']);
    assert.deepEqual(
      [await wrong.ended(), wrong.text],
      [2, 'berth: Unknown flag --prot: berth up takes --config, --host, --port, --rebuild.\n'],
    );
    await using bad = new Up(['--port', '70000']);
    assert.equal(await bad.ended(), 2);
    assert.match(bad.text, /^berth: --port: [^\n]*"70000"[^\n]*\n$/);
  });
});
