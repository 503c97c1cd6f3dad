import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { doctor } from '../../src/cli/doctor.ts';
import type { Invocation } from '../../src/cli/invocation.ts';
import { AppError } from '../../src/errors.ts';
import { hasStoredKeys, openKeys } from '../../src/identity/key-store.ts';
import { makeStateDirectory, onState } from '../../src/state/directory.ts';
import { State } from '../../src/state/state.ts';
import { SetupError } from '../../src/setup/error.ts';
import { Progress } from '../../src/setup/progress.ts';

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'berth-state-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

/** What an operator reads; anything but an `AppError` would be a stack trace. */
function said(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof AppError, String(error));
    return error.message;
  }
  assert.fail('it worked');
}

const lost = 'put a copy back, or move it away: sandboxes and API keys in it are then unknown.';

describe('a state that cannot be used is one sentence', () => {
  test('where the directory is a file, or below one', (t) => {
    const file = join(directory(t), 'file');
    writeFileSync(file, '');
    const expected = `server.state_dir: ${file} cannot be used (not a directory); set another directory.`;
    assert.equal(
      said(() => new State(file)),
      expected,
    );
    assert.equal(
      said(() => openKeys(file)),
      expected,
    );
    assert.match(
      said(() => makeStateDirectory(join(file, 'below'))),
      /^server\.state_dir: \S+ cannot be used \(not a dir/,
    );
  });

  test('where this user may not write', () => {
    const denied = Object.assign(new Error('EACCES'), { code: 'EACCES', errno: -13, path: '/x' });
    const refuse = () => {
      throw denied;
    };
    assert.equal(
      said(() => onState('/x/state.sqlite', refuse)),
      'server.state_dir: /x cannot be used (permission denied); let this user write there, or set another directory.',
    );
  });

  test('where the database is none, or cut off', (t) => {
    const path = directory(t);
    const file = join(path, 'state.sqlite');
    new State(path)[Symbol.dispose]();
    truncateSync(file, statSync(file).size / 2);
    const cut = `server.state_dir: ${file} is damaged (database disk image is malformed); ${lost}`;
    for (const open of [() => new State(path), () => openKeys(path), () => hasStoredKeys(path)])
      assert.equal(said(open), cut);
    writeFileSync(file, 'no database at all, '.repeat(100));
    const none = `server.state_dir: ${file} is damaged (file is not a database); ${lost}`;
    for (const open of [() => new State(path), () => openKeys(path), () => hasStoredKeys(path)])
      assert.equal(said(open), none);
  });

  test('where the database is a directory', (t) => {
    const path = directory(t);
    mkdirSync(join(path, 'state.sqlite'));
    const expected = /^server\.state_dir: \S+\/state\.sqlite cannot be used \([^;]*directory\); move it away/;
    assert.match(
      said(() => hasStoredKeys(path)),
      expected,
    );
    assert.match(
      said(() => new State(path)),
      expected,
    );
  });

  test('where the lock is damaged, which no other server is to blame for', (t) => {
    const path = directory(t);
    writeFileSync(join(path, 'lock.sqlite'), 'no database at all, '.repeat(100));
    assert.match(
      said(() => new State(path)),
      /lock\.sqlite is damaged \(.*\); .* move it away: it holds nothing\.$/,
    );
  });
});

test('what is no trouble with a file stays what it is', () => {
  const bug = new TypeError('a bug');
  const fail = () => {
    throw bug;
  };
  assert.throws(() => onState('/x', fail), bug);
});

test('the log of the set-up that cannot be written is one sentence', (t) => {
  const file = join(directory(t), 'setup.log');
  mkdirSync(file);
  assert.throws(() => new Progress(file), SetupError);
});

describe('the doctor', () => {
  /** Its line about the state directory, on a host whose engine does not answer. */
  async function lineOf(stateDirectory: string): Promise<Record<string, string>> {
    let text = '';
    const code = await doctor({
      env: { BERTH_SERVER__STATE_DIR: stateDirectory, DOCKER_HOST: 'unix:///nonexistent/docker.sock' },
      flags: { quick: true, json: true },
      rest: [],
      stop: new AbortController().signal,
      out: { write: (part: string) => void (text += part) },
      err: { write: () => {} },
    } as unknown as Invocation);
    assert.equal(code, 1);
    const { checks } = JSON.parse(text) as { checks: Record<string, string>[] };
    return checks.find(({ name }) => name === 'state directory') ?? {};
  }

  test('finds a state directory that is to be made, and makes nothing', async (t) => {
    const path = join(directory(t), 'to', 'make');
    assert.notEqual((await lineOf(path))['status'], 'fail');
    assert.throws(() => statSync(path), { code: 'ENOENT' });
  });

  test('fails on one that is a file', async (t) => {
    const file = join(directory(t), 'file');
    writeFileSync(file, '');
    assert.deepEqual(await lineOf(file), {
      name: 'state directory',
      status: 'fail',
      detail: `${file} is no directory`,
      advice: 'Set server.state_dir.',
    });
  });

  test('fails on a damaged database, and looks at the rest', async (t) => {
    const path = directory(t);
    const file = join(path, 'state.sqlite');
    writeFileSync(file, 'no database at all, '.repeat(100));
    const before = readFileSync(file);
    assert.deepEqual(await lineOf(path), {
      name: 'state directory',
      status: 'fail',
      detail: `${file} is damaged (file is not a database)`,
      advice: `P${lost.slice(1)}`,
    });
    assert.deepEqual(readFileSync(file), before);
  });
});
