import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { hostImage, testImage } from '../support/docker-runtime.ts';
import { noOwnEngine, OwnEngine } from '../support/own-engine.ts';
import { openSession, type Message, type RawSession } from '../support/raw.ts';
import { eventually } from '../support/run.ts';
import { ServerProcess } from '../support/server-process.ts';

const liveRestore = '--live-restore';
const text = ({ result }: Message) => result?.content?.map((part) => part.text ?? '').join('\n') ?? '';

describe('a real engine that is stopped, killed, frozen and filled', { skip: noOwnEngine, timeout: 150_000 }, () => {
  let engine: OwnEngine;
  let server: ServerProcess;

  const environment = () => ({
    BERTH_DOCKER__HOST: engine.host,
    BERTH_DOCKER__CALL_TIMEOUT: '2',
    BERTH_SESSION__TEMPLATE: 'base',
    BERTH_WORKSPACE__RESERVE: '0',
  });
  const open = (at = server) => openSession({ mcp: `${at.url}/mcp` });
  const ready = async () => (await fetch(`${server.url}/ready`)).status;
  const run = async (session: RawSession, command: string, more: object = {}) =>
    await session.call('execute_command', { command, ...more });
  const stdout = async (session: RawSession, command: string) => {
    const message = await run(session, command);
    assert.equal(message.result?.isError ?? false, false, text(message));
    return message.result?.structuredContent?.['stdout'];
  };
  /** Until a call goes through, as a model would try again. */
  const works = async (session: RawSession, command: string, expected: string) => {
    let last: Message = {};
    await eventually(async () => {
      last = await run(session, command);
      return last.result?.structuredContent?.['stdout'] === expected;
    }, 20).catch(() => assert.fail(JSON.stringify(last)));
    return last;
  };

  /** What has ended is left to the reaper. */
  const nothingElseRuns = async () => {
    const { length } = await engine.docker.listContainers();
    const { sandboxes } = (await (await fetch(`${server.url}/health`)).json()) as { sandboxes: { running: number } };
    return length === sandboxes.running;
  };

  before(async () => {
    engine = new OwnEngine(1024);
    await engine.start(liveRestore);
    await engine.load(testImage, hostImage);
    await engine.end('SIGTERM');
    server = await ServerProcess.start(environment());
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    await engine[Symbol.asyncDispose]();
  });

  test('that is not there at the start is told in a sentence, and used once it comes', async () => {
    const session = await open();
    assert.equal(await ready(), 503);
    const refused = await run(session, 'echo hello');
    assert.equal(refused.result?.isError, true);
    assert.match(text(refused), /The container engine is not running, or not where Berth looks for it\./);
    await engine.start(liveRestore);
    await works(session, 'echo hello', 'hello\n');
    await eventually(async () => (await ready()) === 200, 5);
  });

  test('that is killed, and restores its containers, costs neither shell nor running command', async () => {
    const session = await open();
    await stdout(session, 'cd /tmp; colour=green; echo kept >/workspace/file');
    const begun = await run(session, 'for i in 1 2 3 4 5 6; do echo line $i; sleep 0.5; done; (exit 7)', { wait: 0.2 });
    await engine.end('SIGKILL');
    await engine.start(liveRestore);
    const id = begun.result?.structuredContent?.['command_id'];
    let page: Record<string, unknown> = {};
    await eventually(async () => {
      const checked = await session.call('check_command', { command_id: id, wait: 10, offset: 0 });
      page = checked.result?.structuredContent ?? {};
      return page['exit_code'] !== undefined && page['exit_code'] !== null;
    }, 20).catch(() => assert.fail(JSON.stringify(page)));
    assert.deepEqual([page['exit_code'], page['stdout']], [7, 'line 1\nline 2\nline 3\nline 4\nline 5\nline 6\n']);
    assert.equal(await stdout(session, 'echo "$? $PWD $colour"; cat /workspace/file'), '7 /tmp green\nkept\n');
  });

  test('that is away while the server restarts is asked for what ran once it is back', async () => {
    const session = await open();
    await stdout(session, 'flavour=mint');
    await engine.end('SIGKILL');
    await server.kill('SIGKILL');
    await server.start();
    assert.equal((await run(session, 'true')).result?.structuredContent?.['code'], 'engine_unavailable');
    await engine.start(liveRestore);
    await works(session, 'echo $flavour', 'mint\n');
  });

  test('that stands still is given up at the deadline, and works on when it goes on', async () => {
    const session = await open();
    await stdout(session, 'shade=blue');
    engine.signal('SIGSTOP');
    const asked = performance.now();
    const created = await session.call('create_sandbox');
    assert.match(text(created), /The container engine does not answer\./);
    const inside = await run(session, 'echo never', { timeout: 2 });
    assert.ok(performance.now() - asked < 40_000);
    engine.signal('SIGCONT');
    assert.notEqual(inside.result?.structuredContent?.['status'], 'completed', JSON.stringify(inside));
    await works(session, 'echo $shade', 'blue\n');
  });

  test('without room refuses a sandbox, and those that run go on', async () => {
    const session = await open();
    await stdout(session, 'tone=red');
    engine.fill();
    const created = await session.call('create_sandbox');
    assert.equal(created.result?.isError, true);
    assert.match(text(created), /The container engine's disk is full\./);
    assert.equal(await stdout(session, 'echo $tone >tone; cat tone'), 'red\n');
    engine.makeRoom();
    assert.equal((await session.call('create_sandbox')).result?.isError ?? false, false);
  });

  test('that stops its containers loses the sandbox but not its files, and says so', async () => {
    const session = await open();
    await stdout(session, 'hue=grey; echo mine >file');
    await engine.end('SIGTERM');
    await engine.start();
    await stdout(session, 'true').catch(() => {});
    const running = run(session, 'sleep 60');
    await new Promise((done) => setTimeout(done, 1500));
    await engine.end('SIGTERM');
    await engine.start();
    const lost = await running;
    assert.match(JSON.stringify(lost), /sandbox_lost/);
    await works(session, 'cat file; echo "[$hue]"', 'mine\n[]\n');
  });

  test('that is killed with its containers loses the sandbox but not its files', async () => {
    const session = await open();
    await stdout(session, 'hue=grey; echo mine >file');
    await engine.end('SIGKILL');
    await engine.start();
    await works(session, 'cat file; echo "[$hue]"', 'mine\n[]\n');
    await eventually(nothingElseRuns, 5);
  });

  for (const [what, step] of [
    ['forward', 3_600_000],
    ['back', -3_600_000],
  ] as const)
    test(`a wall clock set ${what} by an hour ends nothing`, async () => {
      const clock = { NODE_OPTIONS: `--import=${resolve('test/support/shifted-clock.ts')}`, CLOCK_STEP: String(step) };
      const short = { BERTH_SESSION__TIMEOUT: '600', BERTH_SESSION__CLEANUP_INTERVAL: '1' };
      await using shifted = await ServerProcess.start({ ...environment(), ...short, ...clock });
      const sessions = [await open(shifted), await open(shifted)];
      for (const session of sessions) await stdout(session, 'sign=same');
      process.kill(shifted.pid, 'SIGUSR2');
      await new Promise((done) => setTimeout(done, 2500));
      for (const session of sessions) assert.equal(await stdout(session, 'echo $sign'), 'same\n');
    });
});
