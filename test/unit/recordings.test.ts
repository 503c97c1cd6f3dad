import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { withCallContext } from '../../src/sandbox/call-context.ts';
import { recorded } from '../../src/sandbox/intercept/recordings/recorded.ts';
import { Recorder, type RecorderOptions } from '../../src/sandbox/intercept/recordings/recorder.ts';
import { Redactor } from '../../src/sandbox/intercept/recordings/redactor.ts';
import type {
  SandboxStatus,
  TerminalsPort,
  TerminalWatch,
  WatchOptions,
  Workspace,
} from '../../src/sandbox/ports/workspace.ts';
import { FakeWorkspace } from '../support/fake-workspace.ts';

const log = pino({ level: 'silent' });

function bench(t: TestContext, options: Partial<RecorderOptions> = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'berth-recordings-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const recorder = new Recorder({ directory, retention: 0, maxSize: 1e6, maxTotal: 1e9, log, ...options });
  const inner = new FakeWorkspace('sb_1', () => ({}) as SandboxStatus);
  const files = () => readdirSync(directory).toSorted();
  /** The header and the events of every recording. */
  const tapes = () =>
    files().map((name) => readFileSync(join(directory, name), 'utf8').trimEnd().split('\n').map(read));
  return {
    directory,
    recorder,
    inner,
    files,
    tapes,
    wrap: (it: Workspace) => recorded(it, { recorder, longestWait: 1 }),
  };
}

const read = (line: string) => JSON.parse(line) as Record<string, unknown> & [number, string, string];
const said = (tape: Record<string, unknown>[]) => tape.slice(1).map((event) => `${event[1]} ${event[2]}`);

test('a command is a recording of its own, named by sandbox and time, and played as a terminal would show it', async (t) => {
  const { recorder, inner, files, tapes, wrap } = bench(t);
  const workspace = wrap(inner);
  const seen: string[] = [];
  await workspace.shell.run('echo one; echo two; exit 3', { onOutput: (_, bytes) => seen.push(String(bytes.length)) });
  await recorder[Symbol.asyncDispose]();
  assert.match(files().join(), /^sb_1-\d{8}T\d{9}Z-command-1\.cast$/);
  const [tape = []] = tapes();
  const { timestamp, ...header } = tape[0] as Record<string, unknown>;
  assert.ok(Math.abs(Number(timestamp) - Date.now() / 1000) < 10);
  assert.deepEqual(header, {
    version: 2,
    width: 120,
    height: 30,
    command: 'echo one; echo two; exit 3',
    title: 'sb_1',
  });
  assert.deepEqual(said(tape), ['o $ echo one; echo two; exit 3\r\n', 'o one\r\n', 'o two\r\n', 'm error, exit 3']);
  assert.deepEqual(seen, ['4', '4']);
});

test('only their owner can read them', async (t) => {
  const { directory, recorder, inner, files, wrap } = bench(t);
  await wrap(inner).shell.run('echo');
  await recorder[Symbol.asyncDispose]();
  assert.equal(statSync(join(directory, files()[0] ?? '')).mode & 0o777, 0o600);
});

test('a command that goes on is recorded to its end', async (t) => {
  const { recorder, inner, tapes, wrap } = bench(t);
  await wrap(inner).shell.run('sleep 0.1; echo late', { wait: 0 });
  await sleep(250);
  await recorder[Symbol.asyncDispose]();
  assert.deepEqual(said(tapes()[0] ?? []), ['o $ sleep 0.1; echo late\r\n', 'o late\r\n', 'm success, exit 0']);
});

test('the caller’s own secrets are in no recording', async (t) => {
  const { directory, recorder, inner, files, wrap } = bench(t);
  const secret = 'berth_0123456789abcdef';
  const call = { requestId: 'r', tool: 'execute_command', secrets: [secret] };
  await withCallContext(call, () => wrap(inner).shell.run(`echo my ${secret} key`));
  await recorder[Symbol.asyncDispose]();
  const text = readFileSync(join(directory, files()[0] ?? ''), 'utf8');
  assert.ok(!text.includes(secret));
  assert.match(text, /my \[redacted\] key/);
});

test('a secret that comes in pieces is redacted, and what only begins like one is not lost', () => {
  const redactor = new Redactor();
  redactor.add(['hunter2hunter2xx']);
  assert.equal(redactor.push('a hunter2hu') + redactor.push('nter2xx b hunt') + redactor.end(), 'a [redacted] b hunt');
});

test('a recording ends at its bound, and says so', async (t) => {
  const { directory, recorder, inner, files, tapes, wrap } = bench(t, { maxSize: 65_536 });
  const workspace = wrap(inner);
  await workspace.shell.run(
    Array.from({ length: 100 }, (_, at) => `echo ${at} ${'x'.repeat(1000)}`)
      .join(';')
      .slice(0, 90_000),
  );
  await recorder[Symbol.asyncDispose]();
  assert.ok(statSync(join(directory, files()[0] ?? '')).size <= 65_536);
  assert.equal(said(tapes()[0] ?? []).at(-1), 'm the recording ends here: 65536 bytes are allowed');
});

test('what is too old goes, and the oldest where there is too much', async (t) => {
  const { directory, recorder, files } = bench(t, { retention: 7, maxTotal: 250 });
  await recorder.sweep();
  const days = (count: number) => Date.now() / 1000 - count * 86_400;
  for (const [name, age] of [
    ['old', 8],
    ['b', 3],
    ['c', 2],
    ['d', 1],
  ] as const) {
    writeFileSync(join(directory, `${name}.cast`), 'x'.repeat(100));
    utimesSync(join(directory, `${name}.cast`), days(age), days(age));
  }
  writeFileSync(join(directory, 'other.txt'), 'not ours');
  await recorder.sweep();
  assert.deepEqual(files(), ['c.cast', 'd.cast', 'other.txt']);
  await recorder[Symbol.asyncDispose]();
});

/** Files of 100 bytes, a minute apart, the first the oldest. */
function fill(directory: string, names: readonly string[]): void {
  const now = Date.now() / 1000;
  for (const [at, name] of names.entries()) {
    writeFileSync(join(directory, name), 'x'.repeat(100));
    utimesSync(join(directory, name), now, now - (names.length - at) * 60);
  }
}

const numbered = (count: number) => Array.from({ length: count }, (_, at) => `${String(at).padStart(4, '0')}.cast`);

/** Counts how many calls of a function of `node:fs/promises` are under way at the same time. */
function atOnce(t: TestContext, name: 'readdir' | 'stat' | 'rm') {
  const counts = { calls: 0, most: 0 };
  let underWay = 0;
  const real = fs[name] as (...args: unknown[]) => Promise<unknown>;
  const counting = async (...args: unknown[]) => {
    counts.calls += 1;
    counts.most = Math.max(counts.most, (underWay += 1));
    return real(...args).finally(() => (underWay -= 1));
  };
  const { mock } = t.mock.method(fs, name, counting as never);
  syncBuiltinESMExports();
  t.after(() => {
    mock.restore();
    syncBuiltinESMExports();
  });
  return counts;
}

test('all that fits is kept; where there is too much, a tenth is made free', async (t) => {
  const { directory, recorder, files } = bench(t, { maxTotal: 2000 });
  await recorder.sweep();
  fill(directory, numbered(20));
  await recorder.sweep();
  assert.equal(files().length, 20);
  fill(directory, numbered(21));
  await recorder.sweep();
  assert.deepEqual(files(), numbered(21).slice(3));
  await recorder[Symbol.asyncDispose]();
});

test('at the bound of all bytes not every recording calls for a sweep', async (t) => {
  const { directory, recorder, files } = bench(t, { maxTotal: 100_000 });
  await recorder.sweep();
  fill(directory, numbered(1000));
  await recorder.sweep();
  const { mock } = t.mock.method(recorder, 'sweep');
  for (let at = 0; at < 200; at += 1) {
    const cast = recorder.begin('sb_1', 'command', { width: 1, height: 1, command: 'x', title: 'sb_1' });
    cast.event('o', 'y'.repeat(400));
    await recorder.end(cast, 'ok');
    await mock.calls.at(-1)?.result;
  }
  const total = files().reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
  assert.ok(total <= 100_000, `${total} bytes`);
  assert.ok(mock.callCount() >= 5 && mock.callCount() <= 15, `${mock.callCount()} sweeps`);
  await recorder[Symbol.asyncDispose]();
});

test('one sweep at a time, and it touches a few files at a time', async (t) => {
  const { directory, recorder, files } = bench(t, { maxTotal: 25_000 });
  await recorder.sweep();
  fill(directory, numbered(500));
  const lists = atOnce(t, 'readdir');
  const looks = atOnce(t, 'stat');
  const removals = atOnce(t, 'rm');
  await Promise.all([recorder.sweep(), recorder.sweep()]);
  assert.deepEqual(files(), numbered(500).slice(275));
  assert.deepEqual([lists.calls, looks.calls, removals.calls], [1, 500, 275]);
  assert.ok(looks.most <= 64 && removals.most <= 64, `${looks.most} looks, ${removals.most} removals`);
  await recorder[Symbol.asyncDispose]();
});

test('a recording that goes on stays, however old and however much there is', async (t) => {
  const { directory, recorder, files } = bench(t, { retention: 7, maxTotal: 250 });
  const cast = recorder.begin('sb_1', 'terminal', { width: 1, height: 1, command: 'top', title: 'sb_1' });
  await sleep(300);
  const [live = ''] = files();
  utimesSync(join(directory, live), 1, 1);
  fill(directory, ['a.cast', 'b.cast', 'c.cast']);
  await recorder.sweep();
  assert.deepEqual(files(), ['c.cast', live]);
  await recorder.end(cast, 'exit 0');
  utimesSync(join(directory, live), 1, 1);
  await recorder.sweep();
  assert.deepEqual(files(), ['c.cast']);
  await recorder[Symbol.asyncDispose]();
});

test('a terminal is recorded from its start, with its sizes and its end, by a view that counts as nobody’s', async (t) => {
  const { recorder, inner, tapes, wrap } = bench(t);
  const asked: (WatchOptions | undefined)[] = [];
  const output = new TransformStream<Uint8Array, Uint8Array>();
  const writer = output.writable.getWriter();
  const watch = async (id: string, _signal: AbortSignal, options?: WatchOptions): Promise<TerminalWatch> => {
    asked.push(options);
    const info = (await inner.terminals.list()).find(({ sessionId }) => sessionId === id);
    assert.ok(info);
    return { info, output: output.readable, write: async () => {}, resize: async () => {}, exited: Promise.resolve(0) };
  };
  const workspace = wrap({
    handle: 'sb_1',
    shell: inner.shell,
    files: inner.files,
    ports: inner.ports,
    terminals: {
      start: (options) => inner.terminals.start(options),
      resize: (id, cols, rows) => inner.terminals.resize(id, cols, rows),
      list: () => inner.terminals.list(),
      watch,
    } as Partial<TerminalsPort> as TerminalsPort,
    status: () => inner.status(),
  });
  const { sessionId } = await workspace.terminals.start({ command: 'top', cols: 90, rows: 20 });
  const write = async (text: string) => await writer.write(new TextEncoder().encode(text));
  await write('\u001b[2Jhel');
  await workspace.terminals.resize(sessionId, 100, 30);
  await write('lo');
  await writer.close();
  await sleep(20);
  await recorder[Symbol.asyncDispose]();
  assert.deepEqual(asked, [{ uncounted: true }]);
  const [tape = []] = tapes();
  assert.deepEqual([tape[0]?.['width'], tape[0]?.['height'], tape[0]?.['command']], [90, 20, 'top']);
  const events = said(tape);
  assert.deepEqual(
    events.filter((event) => event.startsWith('o')),
    ['o \u001b[2Jhel', 'o lo'],
  );
  assert.ok(events.includes('r 100x30'));
  assert.equal(events.at(-1), 'm exit 0');
});
