import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Writable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { connectTo } from '../../src/egress/connect.ts';
import { Doors } from '../../src/egress/doors.ts';
import { createLogger } from '../../src/log.ts';
import { diagnosed } from '../../src/sandbox/intercept/diagnosis/diagnosed.ts';
import { Diagnosis } from '../../src/sandbox/intercept/diagnosis/diagnose.ts';
import { egressWorks } from '../../src/sandbox/network/egress-check.ts';
import { EgressRelay } from '../../src/sandbox/network/egress-relay.ts';
import { type Egress, type EgressDoor, egressPaths, proxyVariables } from '../../src/sandbox/network/egress.ts';
import type { Mount, Runtime } from '../../src/sandbox/ports/runtime.ts';
import type { ShellPort, Workspace } from '../../src/sandbox/ports/workspace.ts';
import { MiB, newInstance, quiet, specOf, sweep, testRuntime } from '../support/docker-runtime.ts';
import { Origin } from '../support/origin.ts';
import { eventually, run } from '../support/run.ts';
import { shellSandbox, type ShellSandbox } from '../support/shell-sandbox.ts';

const execute = promisify(execFile);

const policy = {
  hosts: [
    'pypi.test',
    '*.files.test',
    'git.test',
    'npm.test',
    'deb.test',
    'metadata.test',
    'rebind.test',
    'slow.test',
    'gone.test',
  ],
  ports: [80, 443],
  bytes: 64 * MiB,
};
/** A public address that the tests never send anything to: what is connected to is the loopback. */
const publicAddress = '151.101.0.223';
const answers: Record<string, readonly string[]> = {
  'metadata.test': ['169.254.169.254'],
  'rebind.test': [publicAddress, '127.0.0.1'],
};

describe('a sandbox behind an allow-list', { timeout: 180_000 }, () => {
  const instance = newInstance();
  const directory = mkdtempSync(join(tmpdir(), 'berth-egress-'));
  const origin = new Origin(join(directory));
  const logged: Record<string, unknown>[] = [];
  const sink = new Writable({ write: (chunk, _, done) => (logged.push(JSON.parse(String(chunk))), done()) });
  const log = createLogger({ level: 'info', format: 'json' }, sink);
  const doors = new Doors({
    directory: join(directory, 'doors'),
    log,
    resolve: async (host) => {
      if (host === 'gone.test') throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
      return answers[host] ?? [publicAddress];
    },
    connect: (address, port) => {
      assert.equal(address, publicAddress);
      return connectTo('127.0.0.1', origin.port(port));
    },
  });
  const npm = nodeMounts();
  let runtime: Runtime;
  let sandbox: ShellSandbox;
  let door: EgressDoor;
  let relay: EgressRelay;
  let shell: ShellPort;

  const sh = async (command: string) => {
    const { stdout, stderr, exitCode, cause } = await shell.run(command, { timeout: 60 });
    const text = ({ head, tail }: typeof stdout) => Buffer.concat([head, tail]).toString();
    return { out: text(stdout), err: text(stderr), code: exitCode, cause };
  };
  const ok = async (command: string) => {
    const { out, err, code } = await sh(command);
    assert.equal(code, 0, `${command}: ${err}${out}`);
    return out;
  };

  before(async () => {
    await origin.start();
    runtime = testRuntime({ instance });
    door = await doors.open({ handle: 'sb_1', template: 'web', policy, fresh: true });
    const mount = { source: door.directory, target: egressPaths.directory, readOnly: true };
    sandbox = await shellSandbox(runtime, { env: proxyVariables, mounts: [mount, ...npm] });
    relay = new EgressRelay(sandbox.container, log);
    await relay.start();
    const workspace = { handle: 'sb', shell: sandbox.host.shell, status: async () => ({}) } as unknown as Workspace;
    const limits = { memory: 256 * MiB, pids: 128 };
    const denials = (since: number) => door.denials(since);
    const around = { container: sandbox.container, template: 'web', network: 'allow-list', limits, denials };
    shell = diagnosed(workspace, new Diagnosis(around)).shell;
  });
  after(async () => {
    await relay[Symbol.asyncDispose]();
    await door[Symbol.asyncDispose]();
    await sandbox[Symbol.asyncDispose]();
    await runtime[Symbol.asyncDispose]();
    await sweep(instance);
    await origin[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });

  describe('reaches what is listed', () => {
    test('with curl, over HTTP and HTTPS, a large body byte for byte', async () => {
      const body = Buffer.alloc(5 * MiB, 'berth');
      origin.write('a.files.test/big', body);
      const digest = createHash('sha256').update(body).digest('hex');
      assert.equal(await ok('curl -sSf http://a.files.test/big | sha256sum'), `${digest}  -\n`);
      assert.equal(await ok('curl -sSfk https://a.files.test/big | sha256sum'), `${digest}  -\n`);
      assert.equal(await ok('curl -sSf --data-binary hello http://a.files.test/echo'), 'hello');
    });
    test('with pip', async () => {
      origin.write(
        'pypi.test/simple/berthpkg/index.html',
        '<a href="/files/berthpkg-1.0-py3-none-any.whl">berthpkg</a>',
      );
      origin.write('pypi.test/files/berthpkg-1.0-py3-none-any.whl', wheel());
      const index = '--index-url http://pypi.test/simple --trusted-host pypi.test';
      await ok(`pip install -q --no-cache-dir --user ${index} berthpkg`);
      assert.equal(await ok('python3 -c "import berthpkg; print(berthpkg.word)"'), 'aboard\n');
    });
    test('with git', async () => {
      const repo = join(directory, 'git.test', 'repo.git');
      execFileSync(
        'sh',
        [
          '-ec',
          `git init -q w; cd w; echo hi > f; git add f; git -c user.name=t -c user.email=t@t commit -qm 1; mkdir -p ${dirname(repo)}; git clone -q --bare . ${repo}; cd ${repo}; git update-server-info`,
        ],
        { cwd: directory, stdio: 'ignore' },
      );
      assert.equal(await ok('git clone -q http://git.test/repo.git && cat repo/f'), 'hi\n');
      assert.equal(await ok('git -c http.sslVerify=false clone -q https://git.test/repo.git tls && cat tls/f'), 'hi\n');
    });
    test('with npm', { skip: npm.length === 0 && 'no npm here to bring along' }, async () => {
      const tarball = npmPackage(directory);
      origin.write('npm.test/berthpkg/-/berthpkg-1.0.0.tgz', tarball);
      const dist = {
        tarball: 'http://npm.test/berthpkg/-/berthpkg-1.0.0.tgz',
        integrity: `sha512-${createHash('sha512').update(tarball).digest('base64')}`,
      };
      const version = { name: 'berthpkg', version: '1.0.0', dist };
      origin.write(
        'npm.test/berthpkg/index.html',
        JSON.stringify({ name: 'berthpkg', 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': version } }),
      );
      const install =
        '/opt/test-node/node /opt/test-npm/bin/npm-cli.js install --no-audit --no-fund --registry http://npm.test/ berthpkg';
      await ok(`mkdir -p js && cd js && ${install} && cat node_modules/berthpkg/package.json`);
      await ok('cd');
    });
    test('with apt', async () => {
      origin.write(
        'deb.test/Packages',
        'Package: berthpkg\nVersion: 1.0\nArchitecture: all\nMaintainer: t <t@t>\nFilename: ./berthpkg.deb\nSize: 1\nDescription: one\n\n',
      );
      const dirs =
        '-o Dir::State=/workspace/apt -o Dir::Cache=/workspace/apt -o Dir::State::status=/dev/null -o Dir::Etc::sourcelist=/workspace/apt/list -o Dir::Etc::sourceparts=-';
      await ok(
        `mkdir -p apt/lists/partial apt/archives/partial && echo 'deb [trusted=yes] http://deb.test/ ./' > apt/list && apt-get ${dirs} update`,
      );
      assert.match(await ok(`apt-cache ${dirs} show berthpkg`), /^Package: berthpkg$/m);
    });
    test('with Python and no library', async () => {
      origin.write('a.files.test/small', 'small');
      assert.equal(
        await ok(
          'python3 -c "import urllib.request as u; print(u.urlopen(\'http://a.files.test/small\').read().decode())"',
        ),
        'small\n',
      );
    });
    test('many at once', async () => {
      const out = await ok('seq 100 | xargs -P 40 -I{} curl -sSf http://a.files.test/small');
      assert.equal(out, 'small'.repeat(100));
    });
  });

  describe('is refused the rest', () => {
    const denied = async (command: string, message: RegExp) => {
      const { code, cause } = await sh(command);
      assert.notEqual(code, 0, command);
      assert.equal(cause?.code, 'egress_denied', command);
      assert.match(cause?.message ?? '', message);
    };
    test('a name that is not listed, and hears which', async () => {
      await denied(
        'curl -sSfk https://evil.test/',
        /^evil\.test:443 was refused: sandboxes of the template web may reach only pypi\.test, /,
      );
      await denied(
        'pip download -q --retries 0 --index-url https://elsewhere.test/simple x',
        /^elsewhere\.test:443 was refused/,
      );
      await denied('git clone -q https://evil.test/a.git', /^evil\.test:443 was refused/);
    });
    test('the sentence also as the answer’s body', async () => {
      assert.match(await ok('curl -sS http://evil.test/'), /^evil\.test:80 was refused: .*\n$/);
    });
    test('a port that is not listed', () =>
      denied('curl -sSf http://pypi.test:8080/', /^pypi\.test:8080 was refused: .* ports 80, 443\.$/));
    test('a listed name that leads to the metadata service', () =>
      denied(
        'curl -sSf http://metadata.test/latest/meta-data/',
        /metadata\.test leads to 169\.254\.169\.254, a link-local address/,
      ));
    test('a listed name of whose addresses one is the loopback', () =>
      denied('curl -sSf http://rebind.test/', /rebind\.test leads to 127\.0\.0\.1, a loopback address/));
    test('addresses in every spelling', async () => {
      for (const host of [
        '127.0.0.1',
        '0x7f.1',
        '2130706433',
        '169.254.169.254',
        '[::1]',
        '[::ffff:10.0.0.1]',
        '10.0.0.1',
      ])
        await denied(`curl -sSfg --noproxy '' http://${host}/`, /was refused/);
    });
    test('a name that does not exist, which is told', async () => {
      const { code, out, cause } = await sh('curl -sS -w %{http_code} http://gone.test/; false');
      assert.equal(code, 1);
      assert.equal(out, 'gone.test:80 could not be reached: its name cannot be resolved.\n502');
      assert.equal(cause?.message, 'gone.test:80 could not be reached: its name cannot be resolved.');
    });
    test('and nothing was connected to but the origin', () => {
      const hosts = new Set(origin.requests.map((line) => line.replace(/^\S+ ([^/]+).*/, '$1')));
      assert.deepEqual(
        [...hosts].filter((host) => !/^(a\.files|pypi|git|npm|deb)\.test$/.test(host)),
        [],
      );
    });
    test('each with a line in the log', () => {
      const lines = logged.filter(({ event }) => event === 'egress.denied');
      assert.ok(
        lines.some(({ target, rule, sandbox }) => target === 'evil.test:443' && rule === 'name' && sandbox === 'sb_1'),
      );
      assert.ok(lines.some(({ target, rule }) => target === 'metadata.test:80' && rule === 'address'));
      assert.ok(
        logged.some(
          ({ event, target, address }) =>
            event === 'egress.allowed' && target === 'pypi.test:80' && address === publicAddress,
        ),
      );
    });
  });

  test('has no other way: neither this host, nor its networks, nor names', async () => {
    const listener = createServer((socket) => socket.end('reached')).listen(0, '0.0.0.0');
    await once(listener, 'listening');
    const { port } = listener.address() as AddressInfo;
    const own = Object.values(networkInterfaces())
      .flatMap((list) => list ?? [])
      .filter(({ family }) => family === 'IPv4');
    try {
      for (const { address } of own) {
        const reach = `exec 3<>/dev/tcp/${address}/${port} && cat <&3`;
        assert.equal((await execute('bash', ['-c', reach])).stdout, 'reached', 'the control');
        assert.notEqual((await sh(`timeout 2 bash -c '${reach}'`)).out, 'reached', address);
      }
    } finally {
      listener.close();
    }
    const { cause } = await sh('curl -sS --noproxy "*" http://pypi.test/');
    assert.equal(
      cause?.message,
      'Only HTTP and HTTPS leave this sandbox, through the proxy that HTTP_PROXY and HTTPS_PROXY name, so pypi.test could not be reached.',
    );
  });

  test('is served again after it killed its own way out', async () => {
    await sh('pkill -9 egress-relay');
    await eventually(async () => (await sh('curl -sSf http://a.files.test/small')).out === 'small', 10);
  });

  test('is served again by the next server', async () => {
    await relay[Symbol.asyncDispose]();
    await door[Symbol.asyncDispose]();
    assert.notEqual((await sh('curl -sSf http://a.files.test/small')).code, 0);
    door = await doors.open({ handle: 'sb_1', template: 'web', policy, fresh: false });
    relay = new EgressRelay(sandbox.container, log);
    await relay.start();
    assert.equal(await ok('curl -sSf http://a.files.test/small'), 'small');
  });

  test('cannot swallow more than its share of bytes', async () => {
    await door[Symbol.asyncDispose]();
    door = await doors.open({ handle: 'sb_1', template: 'web', policy: { ...policy, bytes: 6 * MiB }, fresh: false });
    await ok('curl -sSf -o /dev/null http://a.files.test/big');
    assert.notEqual((await sh('curl -sSf -o /dev/null http://a.files.test/big')).code, 0);
    const { cause } = await sh('curl -sSf http://a.files.test/small');
    assert.equal(
      cause?.message,
      'a.files.test:80 was refused: this sandbox has used up the bytes it may exchange with the network.',
    );
  });

  test('does not share its way out with another', async () => {
    const other = await runtime.open(specOf(`berth-${instance}-other`));
    const { code } = await run(other, ['bash', '-c', 'exec 3<>/dev/tcp/127.0.0.1/3128']);
    assert.notEqual(code, 0);
    await other.remove();
  });
});

test('it is known at once whether sandboxes see this server’s proxies', { timeout: 60_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-doors-'));
  const instance = newInstance();
  await using runtime = testRuntime({ instance });
  const doors = new Doors({ directory, log: quiet });
  assert.equal(await egressWorks(doors, runtime), true);
  const elsewhere = async (at: string): Promise<boolean> => {
    const open: Egress['open'] = async (sandbox) => ({ ...(await doors.open(sandbox)), directory: at });
    return await egressWorks({ open }, runtime);
  };
  assert.equal(await elsewhere(mkdtempSync(join(directory, 'empty-'))), false);
  assert.equal(await elsewhere('/nowhere/on/the/engine'), false);
  await sweep(instance);
  rmSync(directory, { recursive: true });
});

test('what is left of ended sandboxes is cleared away', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-doors-'));
  const known = new Set(['sb_0', 'sb_1', 'sb_64']);
  const doors = new Doors({ directory, log: quiet, known: () => known });
  for (let at = 1; at <= 64; at += 1)
    await (await doors.open({ handle: `sb_${at}`, template: 'web', policy, fresh: true }))[Symbol.asyncDispose]();
  assert.deepEqual(readdirSync(directory).toSorted(), ['sb_1', 'sb_64']);
  known.delete('sb_1');
  doors.tidy();
  assert.deepEqual(readdirSync(directory), ['sb_64']);
  rmSync(directory, { recursive: true });
});

/** This machine's Node and npm, for an image that has none. */
function nodeMounts(): readonly Mount[] {
  const library = join(dirname(process.execPath), '..', 'lib', 'node_modules', 'npm');
  const candidates = [library, '/usr/lib/node_modules/npm', '/usr/share/nodejs/npm', '/usr/share/npm'];
  const found = candidates.find((path) => existsSync(join(path, 'bin', 'npm-cli.js')));
  if (!found) return [];
  return [
    { source: dirname(process.execPath), target: '/opt/test-node', readOnly: true },
    { source: found, target: '/opt/test-npm', readOnly: true },
  ];
}

function wheel(): Buffer {
  const script = `
import io, sys, zipfile
files = {
  'berthpkg.py': 'word = "aboard"\\n',
  'berthpkg-1.0.dist-info/METADATA': 'Metadata-Version: 2.1\\nName: berthpkg\\nVersion: 1.0\\n',
  'berthpkg-1.0.dist-info/WHEEL': 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n',
  'berthpkg-1.0.dist-info/RECORD': '',
}
made = io.BytesIO()
with zipfile.ZipFile(made, 'w') as archive:
  for name, text in files.items(): archive.writestr(name, text)
sys.stdout.buffer.write(made.getvalue())`;
  return execFileSync('python3', ['-c', script]);
}

function npmPackage(directory: string): Buffer {
  const script = `mkdir -p ${directory}/pkg/package && echo '{"name":"berthpkg","version":"1.0.0"}' > ${directory}/pkg/package/package.json && tar -C ${directory}/pkg -cz package`;
  return execFileSync('sh', ['-c', script]);
}
