import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Doors } from '../../src/egress/doors.ts';
import { openShellHost, type SessionHost } from '../../src/sandbox/session/wire/session-host.ts';
import { SandboxOpener } from '../../src/sandbox/lifecycle/opener.ts';
import type { Container, Runtime } from '../../src/sandbox/ports/runtime.ts';
import { State, type SandboxRow } from '../../src/state/state.ts';
import type { Output } from '../../src/sandbox/ports/workspace.ts';
import { newInstance, quiet, specOf, sweep, testRuntime } from '../support/docker-runtime.ts';
import { testConfig } from '../support/server.ts';
import { defaultConfig } from '../support/shell-sandbox.ts';

const instance = newInstance();
let runtime: Runtime;

before(() => {
  runtime = testRuntime({ instance });
});

after(async () => {
  await runtime[Symbol.asyncDispose]();
  await sweep(instance);
});

/** A workspace whose container goes and comes again, as that of a sandbox that is idled out. */
class Moving implements AsyncDisposable {
  readonly #name = `carry-${randomBytes(4).toString('hex')}`;
  readonly #token = randomBytes(32);
  #container: Container | undefined;
  #host: SessionHost | undefined;
  carried: Uint8Array | undefined;

  async open(env: Record<string, string> = {}): Promise<this> {
    this.#container = await runtime.open(specOf(this.#name, { env }));
    const options = { token: this.#token, log: quiet, config: defaultConfig };
    this.#host = await openShellHost(this.#container, { ...options, ...(this.carried && { carried: this.carried }) });
    return this;
  }

  get host(): SessionHost {
    assert.ok(this.#host);
    return this.#host;
  }

  /** Both streams of a command, as bytes of Latin 1. */
  async run(command: string): Promise<string> {
    const { stdout, stderr, shellRestarted } = await this.host.shell.run(command);
    return `${shown(stdout)}${shown(stderr)}${shellRestarted ? 'restarted' : ''}`;
  }

  async close(): Promise<void> {
    await this.#host?.[Symbol.asyncDispose]();
    await this.#container?.remove();
  }

  async move(env: Record<string, string> = {}): Promise<void> {
    this.carried = await this.host.carry();
    await this.close();
    await this.open(env);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    await runtime.removeVolume(this.#name);
  }
}

function shown({ head, tail }: Output): string {
  return Buffer.concat([head, tail]).toString('latin1');
}

describe('a shell goes on in another container', { concurrency: 2 }, () => {
  test('with its directory, variables, arrays, functions, aliases, options and umask', async () => {
    await using sandbox = await new Moving().open();
    await sandbox.run(
      "mkdir -p a/b; cd a/b; export A='1  2'; V=v; n=(x 'y z'); declare -A m=([k]='a b'); declare -i i=3",
    );
    await sandbox.run(
      'f() { echo "f $1 $V"; }; export -f f; alias g="echo g"; shopt -s nullglob; set -o pipefail; umask 027',
    );
    await sandbox.move();
    assert.equal(sandbox.host.restored, true);
    assert.equal(await sandbox.host.shell.cwd(), '/workspace/a/b');
    assert.equal(
      await sandbox.run('pwd; echo "$A" "${n[1]}" "${m[k]}"; i=i+1; echo $i'),
      '/workspace/a/b\n1  2 y z a b\n4\n',
    );
    assert.equal(
      await sandbox.run('f 2; bash -c "echo \\"\\$A\\"; f 3"; g h; umask'),
      'f 2 v\n1  2\nf 3 \ng h\n0027\n',
    );
    assert.equal(
      await sandbox.run('shopt nullglob; false | true; echo $?; cd -'),
      'nullglob       \ton\n1\n/workspace\n',
    );
    await sandbox.move();
    assert.equal(await sandbox.run('pwd; f 4; echo "${n[1]}"'), '/workspace\nf 4 v\ny z\n');
  });

  test('with its virtualenv activated', async () => {
    await using sandbox = await new Moving().open();
    assert.equal(
      await sandbox.run('python3 -m venv --without-pip .venv && . .venv/bin/activate && type -t deactivate'),
      'function\n',
    );
    await sandbox.move();
    assert.equal(
      await sandbox.run('python3 -c "import sys; print(sys.prefix)"; echo $VIRTUAL_ENV'),
      '/workspace/.venv\n/workspace/.venv\n',
    );
    assert.equal(
      await sandbox.run('deactivate; echo "${VIRTUAL_ENV-none}"; type -P python3'),
      'none\n/usr/bin/python3\n',
    );
  });

  test('with values that are hard to quote', async () => {
    await using sandbox = await new Moving().open();
    await sandbox.run(
      "a=$'new\\nline\\t\\'\"`$' b=$'\\377\\376\\1' e=; readonly R='r 1'; declare -ra L=(1 $'\\n' '*'); declare -n ref=a",
    );
    await sandbox.run("k() { cat <<'E'\n$x `y` \\\nE\n}");
    await sandbox.move();
    const values = await sandbox.run('printf "%s|" "$a" "$b" "${e-unset}" "$R" "${L[@]}" "$ref"; k');
    assert.equal(values, 'new\nline\t\'"`$|\xff\xfe\x01||r 1|1|\n|*|new\nline\t\'"`$|$x `y` \\\n');
    assert.equal(await sandbox.run('R=2'), 'bash: R: readonly variable\n');
  });

  test("under the new container's environment, but for what the shell has changed", async () => {
    await using sandbox = await new Moving().open({
      KEPT: 'k',
      CHANGED: 'old',
      REMOVED: 'r',
      OWN: 'old',
      HTTP_PROXY: 'http://a:1',
    });
    await sandbox.run('export PATH="/workspace/bin:$PATH" OWN=mine NEW=n; unset KEPT');
    await sandbox.move({ KEPT: 'k', CHANGED: 'new', OWN: 'new', HTTP_PROXY: 'http://b:2', ADDED: 'a' });
    const seen = await sandbox.run(
      'env | grep -E "^(KEPT|CHANGED|REMOVED|OWN|NEW|ADDED|HTTP_PROXY)=" | sort; echo ${PATH%%:*}',
    );
    assert.equal(seen, 'ADDED=a\nCHANGED=new\nHTTP_PROXY=http://b:2\nKEPT=k\nNEW=n\nOWN=mine\n/workspace/bin\n');
  });

  test('without what is too large, and elsewhere when its directory has gone', async () => {
    await using sandbox = await new Moving().open();
    await sandbox.run('a=$(head -c 1100000 /dev/zero | tr "\\0" a); f() { echo f; }; mkdir gone; cd gone');
    sandbox.carried = await sandbox.host.carry();
    assert.ok(sandbox.carried && sandbox.carried.length < 10_000);
    await sandbox.run('rmdir ../gone');
    await sandbox.close();
    await sandbox.open();
    assert.equal(await sandbox.host.shell.cwd(), '/workspace');
    assert.equal(await sandbox.run('pwd; echo ${#a}; f'), '/workspace\n0\nf\n');
  });

  test('unless nothing has run, or something runs', async () => {
    await using sandbox = await new Moving().open();
    assert.equal(await sandbox.host.carry(), undefined);
    await sandbox.move();
    assert.equal(sandbox.host.restored, false);
    const running = sandbox.run('x=1; sleep 0.5');
    assert.equal(await sandbox.host.carry(), undefined);
    await running;
    assert.notEqual(await sandbox.host.carry(), undefined);
    assert.equal(await sandbox.run('echo $x'), '1\n');
  });

  test('and not when it has run a command', async () => {
    await using sandbox = await new Moving().open();
    await sandbox.run('x=old');
    sandbox.carried = await sandbox.host.carry();
    await sandbox.run('x=new');
    // Another server's connection to the same host.
    await sandbox.host[Symbol.asyncDispose]();
    await sandbox.open();
    assert.deepEqual([sandbox.host.restored, await sandbox.run('echo $x')], [false, 'new\n']);
  });
});

const row: SandboxRow = {
  handle: 'sb-carried',
  principal: 'ann',
  scopeKind: 'default',
  scopeId: '',
  template: 'base',
  volume: 'berth-test-carried',
  state: 'idle',
  created: 1,
  lastUsed: 1,
  expires: null,
  lost: [],
};

test('a sandbox that is opened begins with the shell that was kept, once', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-carry-'));
  t.after(() => rmSync(directory, { recursive: true }));
  using state = new State(directory);
  const own = testRuntime({ instance: state.instance });
  t.after(() => sweep(state.instance));
  const config = testConfig({ server: { state_dir: directory }, session: { template: 'base' } });
  const egress = new Doors({ directory: join(directory, 'egress'), log: quiet });
  const parts = { runtime: own, state, config, log: quiet, seccomp: new Map<string, string>(), egress };
  const opener = new SandboxOpener({ ...parts, decorate: (workspace) => workspace });
  const { signal } = new AbortController();
  state.insert(row);
  for (const [command, printed, restored] of [
    ['x=1; cd /usr; f() { echo "f $x"; }', '', false],
    ['f; pwd; x=2', 'f 1\n/usr\n', true],
    ['f', 'f 2\n', true],
  ] as const) {
    const kept = state.takeShell(row.handle);
    const live = await opener.open(row, signal);
    assert.deepEqual([kept !== undefined, live.restored, state.takeShell(row.handle)], [restored, restored, undefined]);
    assert.equal(shown((await live.workspace.shell.run(command)).stdout), printed);
    state.keepShell(row.handle, await live.carry?.());
    await live.container.remove();
    await live[Symbol.asyncDispose]();
  }
  // A server that died before it let the container go left this behind; the shell itself lives on.
  await using first = await opener.open(row, signal);
  await first.workspace.shell.run('x=3');
  state.keepShell(row.handle, await first.carry?.());
  const record = await own.find(first.container.name);
  assert.ok(record);
  await using second = await opener.adopt(row, record);
  assert.deepEqual([second.restored, state.takeShell(row.handle)], [false, undefined]);
  assert.equal(shown((await second.workspace.shell.run('f')).stdout), 'f 3\n');
  await own[Symbol.asyncDispose]();
});
