import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import type { Live } from '../../src/sandbox/lifecycle/live.ts';
import { CpuWatch } from '../../src/sandbox/intercept/limits/cpu-watch.ts';
import { HourMeter } from '../../src/sandbox/intercept/limits/hour-meter.ts';
import { limited } from '../../src/sandbox/intercept/limits/limited.ts';
import { Limiter, type Bounds } from '../../src/sandbox/intercept/limits/limiter.ts';
import { OpenTerminals } from '../../src/sandbox/intercept/limits/open-terminals.ts';
import type { SandboxRow } from '../../src/state/state.ts';
import type { SandboxStatus, Workspace } from '../../src/sandbox/ports/workspace.ts';
import { FakeWorkspace } from '../support/fake-workspace.ts';

const none: Bounds = { commands: 0, terminals: 0, uploadPerHour: 0, cpuPerHour: 0 };
const minute = 60_000;

interface Bench {
  readonly limiter: Limiter;
  /** Milliseconds. */
  readonly clock: { at: number };
  /** A principal's workspace within its limits. */
  readonly of: (principal: string) => Workspace;
}

function bench(each: Partial<Bounds>, total: Partial<Bounds> = {}): Bench {
  const clock = { at: 0 };
  const terminals = new OpenTerminals();
  const running: { row: SandboxRow; live: Live }[] = [];
  const limiter = new Limiter({
    each: { ...none, ...each },
    total: { ...none, ...total },
    openTerminals: (principal) => terminals.count(running, principal),
    longestWait: 1,
    now: () => clock.at,
  });
  return {
    limiter,
    clock,
    of(principal) {
      const inner = new FakeWorkspace(`sb-${running.length}`, () => ({}) as SandboxStatus);
      const workspace = limited(inner, limiter, principal);
      terminals.enroll(workspace, inner);
      running.push({ row: { principal } as SandboxRow, live: { workspace } as Live });
      return workspace;
    },
  };
}

const body = (size: number) => new Blob([new Uint8Array(size)]).stream();

test('one principal’s commands are bounded over all his sandboxes, and another’s are not', async () => {
  const { of } = bench({ commands: 1 });
  const [one, two, other] = [of('ann'), of('ann'), of('ben')];
  const running = one.shell.run('sleep 0.2');
  await assert.rejects(two.shell.run('echo'), {
    code: 'busy',
    message: 'You have 1 command running, the most allowed; wait for one to end or stop one; try again in 10 s.',
    data: { retry_after: 10 },
  });
  assert.equal((await other.shell.run('echo')).status, 'success');
  await running;
  assert.equal((await two.shell.run('echo')).status, 'success');
});

test('a command that goes on in the background counts until it ends', async () => {
  const workspace = bench({ commands: 1 }).of('ann');
  assert.equal((await workspace.shell.run('sleep 0.3', { wait: 0 })).status, 'running');
  await assert.rejects(workspace.shell.run('echo'), { code: 'busy' });
  await workspace.shell.check('c1', { wait: 1 });
  await new Promise((done) => setTimeout(done, 50));
  assert.equal((await workspace.shell.run('echo')).status, 'success');
});

test('all commands together are bounded, too', async () => {
  const { of } = bench({}, { commands: 1 });
  const running = of('ann').shell.run('sleep 0.1');
  await assert.rejects(of('ben').shell.run('echo'), {
    message: 'This server runs 1 command, the most allowed; try again in 10 s.',
  });
  await running;
});

test('terminals are bounded, also those that are being opened at the same time, and a closed one counts no more', async () => {
  const { of } = bench({ terminals: 2 });
  const [one, two] = [of('ann'), of('ann')];
  const outcomes = await Promise.allSettled([one, two, one].map((workspace) => workspace.terminals.start()));
  const opened = outcomes.filter((outcome) => outcome.status === 'fulfilled');
  assert.ok(opened.length <= 2);
  for (let count = opened.length; count < 2; count += 1) await two.terminals.start();
  await assert.rejects(two.terminals.start(), {
    code: 'busy',
    message: 'You have 2 terminals open, the most allowed; close one with end_shell_session first; try again in 60 s.',
  });
  await of('ben').terminals.start();
  const [open] = [...(await one.terminals.list()), ...(await two.terminals.list())].filter(({ exited }) => !exited);
  const owner = (await one.terminals.list()).some(({ sessionId }) => sessionId === open?.sessionId) ? one : two;
  await owner.terminals.end(open?.sessionId ?? '');
  await two.terminals.start();
});

test('uploaded bytes are bounded by the hour, as they come and by what was announced', async () => {
  const it = bench({ uploadPerHour: 1000 });
  const { files } = it.of('ann');
  await files.write('/workspace/a', body(800));
  await assert.rejects(files.write('/workspace/b', body(300)), {
    code: 'busy',
    message:
      'You have uploaded 800 bytes within an hour, this upload has 300 more, and 1000 bytes an hour are allowed; try again in 3660 s.',
    data: { retry_after: 3660 },
  });
  await assert.rejects(files.write('/workspace/b', body(0), { size: 1001 }), {
    code: 'too_large',
    message: 'The upload has 1001 bytes, and 1000 bytes an hour are allowed; nothing was kept.',
  });
  await it.of('ben').files.write('/workspace/a', body(800));
  it.clock.at = 61 * minute;
  await files.write('/workspace/b', body(300));
});

test('who has used his CPU time runs no command until some of it is an hour ago', async () => {
  const it = bench({ cpuPerHour: 60 });
  const { shell } = it.of('ann');
  assert.equal(it.limiter.cpu('ann', 45), false);
  it.clock.at = 10 * minute;
  assert.equal(it.limiter.cpu('ann', 45), true);
  await assert.rejects(shell.run('echo'), {
    code: 'busy',
    message: 'Your sandboxes have used 1.5 CPU minutes within an hour, and 1 are allowed; try again in 3060 s.',
  });
  await it.of('ben').shell.run('echo');
  it.clock.at = 61 * minute;
  await shell.run('echo');
});

test('a sandbox that goes on computing beyond its owner’s CPU time is stopped; one that rests is not', async () => {
  const { limiter } = bench({ cpuPerHour: 60 });
  const used = { busy: 0, calm: 0 };
  const live = (id: keyof typeof used) =>
    ({ container: { id, usage: async () => ({ cpuSeconds: used[id] }) } }) as unknown as Live;
  const running = (['busy', 'calm'] as const).map((handle) => ({
    row: { handle, principal: 'ann' } as SandboxRow & { handle: string },
    live: live(handle),
  }));
  const stopped: string[] = [];
  const stop = async (handle: string, why: string) => void stopped.push(`${handle}: ${why}`);
  using watch = new CpuWatch({
    limiter,
    running: () => running,
    stop,
    interval: 3600,
    log: pino({ level: 'silent' }),
  });
  used.busy = 1000;
  await watch.look();
  assert.equal(limiter.cpuShortage('ann'), undefined, 'what was used before the first look counts for nothing');
  used.busy += 50;
  used.calm += 1;
  await watch.look();
  assert.deepEqual(stopped, []);
  used.busy += 200;
  await watch.look();
  assert.deepEqual(stopped, ['busy: your sandboxes have used 4.2 CPU minutes within an hour, and 1 are allowed']);
});

test('what a sandbox used since the last look counts when it is ended, once', async () => {
  const { limiter } = bench({ cpuPerHour: 60 });
  let cpuSeconds = 0;
  const live = { container: { id: 'short', usage: async () => ({ cpuSeconds }) } } as unknown as Live;
  const row = { handle: 'short', principal: 'ann' } as SandboxRow;
  const running = [{ row, live }];
  using watch = new CpuWatch({
    limiter,
    running: () => running,
    stop: async () => {},
    interval: 3600,
    log: pino({ level: 'silent' }),
  });
  await watch.look();
  cpuSeconds = 50;
  await Promise.all([watch.look(), watch.last(row, live)]);
  assert.equal(limiter.cpuShortage('ann'), undefined);
  cpuSeconds = 90;
  await watch.last(row, live);
  assert.match(limiter.cpuShortage('ann')?.why ?? '', /^Your sandboxes have used 1.5 CPU minutes within an hour/);
});

test('an hour’s meter forgets by the minute and says how long it takes', () => {
  let clock = 0;
  const meter = new HourMeter(() => clock);
  meter.add(10);
  clock = 30 * minute;
  meter.add(5);
  assert.equal(meter.sum(), 15);
  assert.equal(meter.secondsUntil(15), 0);
  assert.equal(meter.secondsUntil(5), 31 * 60);
  assert.equal(meter.secondsUntil(0), 61 * 60);
  clock = 61 * minute;
  assert.equal(meter.sum(), 5);
});
