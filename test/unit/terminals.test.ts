import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SessionHost } from '../../src/sandbox/session/wire/session-host.ts';
import { channelBody, ScriptedHost, u32, u64 } from '../support/scripted-host.ts';
import { notes, open, rejects } from '../support/scripted-session.ts';

async function started(container: ScriptedHost, host: SessionHost, command?: string) {
  const info = await host.terminals.start(command === undefined ? {} : { command });
  const { channel, body } = await container.next('open');
  return { info, id: info.sessionId, channel, body };
}

/** Streaming reads until the terminal has nothing more to say. */
async function readAll(host: SessionHost, id: string, maxBytes: number): Promise<string[]> {
  const parts: string[] = [];
  for (;;) {
    const { output } = await host.terminals.read(id, { mode: 'streaming', maxBytes });
    if (output === '') return parts;
    parts.push(output);
  }
}

test('a terminal is opened with its size, directory, command and environment', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const info = await host.terminals.start({ cols: 100, rows: 30, command: 'vim x', cwd: 'src' });
  const { body } = await container.next('open');
  assert.equal(body.subarray(0, 16).toString('hex'), '00000001' + '001e' + '0064' + '00040000' + '00100000');
  assert.deepEqual(body.subarray(16).toString().split('\0'), [
    '/workspace/src',
    '/bin/bash',
    '-c',
    'vim x',
    '',
    'TERM=xterm-256color',
    'COLORTERM=truecolor',
    '',
  ]);
  const { started: _, ...rest } = info;
  assert.deepEqual(rest, {
    sessionId: 'term_1_0000000000001234',
    command: 'vim x',
    rows: 30,
    cols: 100,
    exited: false,
    exitCode: null,
    watchers: 0,
  });
  assert.deepEqual(await host.terminals.list(), [info]);
});

test('streaming reads lose nothing, repeat nothing and split no character', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const { id, channel } = await started(container, host);
  const text = 'aé😀\x1b[31mb\x1b[0m€c'.repeat(50);
  const bytes = Buffer.from(text);
  let joined = '';
  for (let at = 0; at < bytes.length; at += 7) {
    container.data(channel, 0, at, bytes.subarray(at, at + 7));
    await sleep(0);
    joined += (await host.terminals.read(id)).output;
  }
  assert.equal(joined, text);
  container.data(channel, 0, bytes.length, bytes);
  await sleep(5);
  const parts = await readAll(host, id, 5);
  assert.equal(parts.join(''), text);
  assert.ok(parts.length > 50);
});

test('a read says how much it leaves for the next one', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const { id, channel } = await started(container, host);
  container.data(channel, 0, 0, '0123456789');
  await sleep(5);
  const read = await host.terminals.read(id, { maxBytes: 4 });
  assert.deepEqual(read, {
    output: '0123',
    mode: 'streaming',
    totalBytesReceived: 10,
    truncated: true,
    originalSize: 10,
    isSnapshot: false,
    cursor: { row: 0, col: 10 },
    size: { rows: 24, cols: 80 },
    alternateScreen: false,
    dropped: 0,
    exited: false,
    exitCode: null,
  });
  assert.equal((await host.terminals.read(id)).output, '456789');
});

test('a terminal that nobody reads drains, and the next read counts what is lost', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const { id, channel } = await started(container, host);
  const line = 'x'.repeat(9999) + '\n';
  for (let count = 0; count < 20; count++) container.data(channel, 0, count * 10_000, line);
  await sleep(50);
  const read = await host.terminals.read(id, { maxBytes: 1048576 });
  assert.deepEqual([read.dropped, read.output.length, read.totalBytesReceived], [200_000 - 65_536, 65_536, 200_000]);
  const credit = await container.next('credit');
  assert.ok(Number(credit.body.readBigUInt64BE(5)) > 262_144);
});

test('a snapshot is the screen as a person sees it', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const { id, channel } = await started(container, host);
  container.data(channel, 0, 0, '50%\r\x1b[32m100%\x1b[0m\x1b[3;5Hthere\x1b[1;5H');
  await sleep(5);
  const read = await host.terminals.read(id, { mode: 'snapshot' });
  assert.equal(read.output, '100%\n\n    there');
  assert.deepEqual([read.isSnapshot, read.cursor, typeof read.snapshotTime], [true, { row: 0, col: 4 }, 'string']);
  assert.equal((await host.terminals.read(id)).mode, 'snapshot');
});

test('without a mode, a full-screen program is shown as a snapshot', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const { id, channel } = await started(container, host);
  container.data(channel, 0, 0, '$ vim\r\n\x1b[?1049h\x1b[H~ file\x1b[1;1H');
  await sleep(5);
  const full = await host.terminals.read(id);
  assert.deepEqual([full.mode, full.output, full.alternateScreen], ['snapshot', '~ file', true]);
  container.data(channel, 0, 34, '\x1b[?1049l');
  await sleep(5);
  const back = await host.terminals.read(id, { mode: 'snapshot' });
  assert.deepEqual([back.output, back.alternateScreen], ['$ vim', false]);
});

test("the program's questions about the terminal are answered", async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const { channel } = await started(container, host);
  container.data(channel, 0, 0, 'abc\x1b[6n\x1b[c');
  assert.equal((await container.next('input')).body.subarray(4).toString(), '\x1b[1;4R');
  assert.equal((await container.next('input')).body.subarray(4).toString(), '\x1b[?1;2c');
});

const typed: readonly [string, object, string][] = [
  ['Enter is added', { input: 'ls' }, 'ls\r'],
  ['one newline is enough', { input: 'ls\n' }, 'ls\r'],
  ['newlines are Enter', { input: 'a\nb\r\nc' }, 'a\rb\rc\r'],
  ['nothing is Enter', { input: '' }, '\r'],
  ['raw stays as it is', { input: 'a\nb', raw: true }, 'a\nb'],
  ['keys come after the input', { input: 'x', keys: ['up', 'ctrl-c'] }, 'x\r\x1b[A\x03'],
  ['keys alone add nothing', { keys: ['escape', 'f5'] }, '\x1b\x1b[15~'],
];

for (const [name, input, expected] of typed) {
  test(`${name}: ${JSON.stringify(input)}`, async () => {
    const container = new ScriptedHost();
    await using host = await open(container);
    const { id } = await started(container, host);
    await host.terminals.send(id, input);
    assert.equal((await container.next('input')).body.subarray(4).toString(), expected);
  });
}

test('arrows follow the mode that the program asked for', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const { id, channel } = await started(container, host);
  container.data(channel, 0, 0, '\x1b[?1h');
  await sleep(5);
  await host.terminals.send(id, { keys: ['down'] });
  assert.equal((await container.next('input')).body.subarray(4).toString(), '\x1bOB');
});

test('at most 64 KiB of input are on their way, and input that is not read is refused', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const { id, channel } = await started(container, host);
  await host.terminals.send(id, { input: 'x'.repeat(100_000), raw: true });
  assert.equal((await container.next('input')).body.length - 4, 65_536);
  await sleep(5);
  assert.deepEqual(
    container.requests.filter(({ type }) => type === 5),
    [],
  );
  await rejects(
    host.terminals.send(id, { input: 'y'.repeat(999_999), raw: true }),
    'busy',
    /^The terminal's program has not read 100000 bytes of earlier input; at most 1048576 may wait\.$/,
  );
  container.say(0x88, u32(channel), u64(60_000));
  const rest = (await container.next('input')).body.length - 4;
  const last = rest === 34_464 ? 0 : (await container.next('input')).body.length - 4;
  assert.equal(rest + last, 34_464);
});

test('until waits for a match, and says when there was none', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const { id, channel } = await started(container, host);
  const waiting = host.terminals.read(id, { until: 'ready\\.$', wait: 5 });
  container.data(channel, 0, 0, 'loading…\r\n');
  await sleep(20);
  container.data(channel, 0, 12, '\x1b[1mready\x1b[0m.');
  const read = await waiting;
  assert.deepEqual([read.matched, read.output], [true, 'loading…\r\n\x1b[1mready\x1b[0m.']);
  assert.equal((await host.terminals.read(id, { until: 'never', wait: 0.05 })).matched, false);
  await rejects(host.terminals.read(id, { until: '(' }), 'invalid_argument', /^until: expected a regular expression, /);
});

test('wait returns when output came and no more follows', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const { id, channel } = await started(container, host);
  const waiting = host.terminals.read(id, { wait: 30 });
  container.data(channel, 0, 0, 'one ');
  await sleep(50);
  container.data(channel, 0, 4, 'two');
  assert.equal((await waiting).output, 'one two');
});

test('the end gives the exit code, after the last byte', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const { id, channel } = await started(container, host);
  container.done(channel, 3, 7, [4, 0], '');
  await sleep(5);
  assert.equal((await host.terminals.read(id)).exited, false);
  container.data(channel, 0, 0, 'bye\x1b');
  await sleep(5);
  const read = await host.terminals.read(id, { wait: 5 });
  assert.deepEqual([read.output, read.exited, read.exitCode], ['bye\x1b', true, 7]);
  await rejects(
    host.terminals.send(id, { input: 'x' }),
    'conflict',
    /^The terminal's program has ended with exit code 7; it takes no input\.$/,
  );
});

test('a terminal is ended and forgotten', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const { id, channel } = await started(container, host);
  const ending = host.terminals.end(id);
  assert.equal((await container.next('signal')).body.toString('hex'), '000000010102');
  container.done(channel, 3, 129, [0, 0], '');
  const info = await ending;
  assert.deepEqual([info.exited, info.exitCode], [true, 129]);
  assert.equal((await container.next('forget')).channel, channel);
  await rejects(
    host.terminals.read(id),
    'not_found',
    /^sessionId: this sandbox has no terminal "term_1_0000000000001234"\.$/,
  );
});

test('bounds: open terminals, sizes, ids', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const { id } = await started(container, host);
  await started(container, host);
  await rejects(
    host.terminals.start(),
    'busy',
    /^2 terminals are open in this sandbox, which is the limit; end one of them first\.$/,
  );
  await rejects(
    host.terminals.resize(id, 0, 24),
    'invalid_argument',
    /^cols: expected a whole number from 1 to 1000; got 0\.$/,
  );
  await rejects(
    host.terminals.resize(id, 80, 501),
    'invalid_argument',
    /^rows: expected a whole number from 1 to 500; got 501\.$/,
  );
  await rejects(host.terminals.read('nope\n'), 'not_found', /^sessionId: this sandbox has no terminal "nope\?"\.$/);
  await rejects(
    host.terminals.send(id, {}),
    'invalid_argument',
    /^input: expected text to type, or names of keys in keys; got neither\.$/,
  );
  await rejects(
    host.terminals.read(id, { maxBytes: 0 }),
    'invalid_argument',
    /^maxBytes: expected a whole number of bytes from 1 to 1048576; got 0\.$/,
  );
});

test('a program that cannot be started is an error, and leaves no terminal', async () => {
  const container = new ScriptedHost();
  container.pongs = false;
  await using host = await open(container);
  const starting = host.terminals.start({ command: 'x' });
  for (const channel of [1, 2]) {
    assert.equal((await container.next('open')).channel, channel);
    container.say(0x89, u32(channel), Buffer.from([5]), 'No such file or directory\0');
    container.say(0x8a, (await container.next('ping')).body, u32(0), u32(0));
  }
  await rejects(
    starting,
    'invalid_argument',
    /^The terminal could not be started in \/workspace: No such file or directory\.$/,
  );
  assert.deepEqual(await host.terminals.list(), []);
});

test('a viewer gets the screen, then every byte, and a repaint when it falls behind', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const { id, channel } = await started(container, host);
  container.data(channel, 0, 0, 'hello \x1b[3');
  await sleep(5);
  const stop = new AbortController();
  const watch = await host.terminals.watch(id, stop.signal);
  const reader = watch.output.getReader();
  const next = async () => Buffer.from((await reader.read()).value ?? []).toString();
  assert.equal(await next(), '\x1bchello ');
  assert.equal(await next(), '\x1b[3');
  container.data(channel, 0, 9, '1mred');
  assert.equal(await next(), '1mred');
  assert.equal((await host.terminals.list())[0]?.watchers, 1);
  for (let count = 0; count < 8; count++) container.data(channel, 0, 14 + count * 10_000, 'y'.repeat(9998) + '\r\n');
  await sleep(50);
  assert.match(await next(), /^\x1bc/);
  await watch.write(Buffer.from('q'));
  assert.equal((await container.next('input')).body.subarray(4).toString(), 'q');
  container.done(channel, 3, 0, [80_014, 0], '');
  await sleep(5);
  assert.equal((await reader.read()).done, true);
  assert.equal(await watch.exited, 0);
  assert.equal((await host.terminals.list())[0]?.watchers, 0);
});

test('input that a broken stream lost is sent again, once', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const { id, channel } = await started(container, host);
  await host.terminals.send(id, { input: 'abcdef', raw: true });
  await container.next('input');
  container.highest = 1;
  container.channels = [
    channelBody(channel, 2, false, [
      [0, 0, false],
      [0, 0, true],
    ]),
  ];
  container.cut();
  await container.next('follow');
  await host.terminals.send(id, { input: 'gh', raw: true });
  container.say(0x88, u32(channel), u64(4));
  assert.equal((await container.next('input')).body.subarray(4).toString(), 'efgh');
});

test('a new server shows the terminals of the one before it', async () => {
  const container = new ScriptedHost();
  const store = notes();
  const before = await open(container, store);
  const { info } = await started(container, before, 'top');
  container.data(1, 0, 0, 'one\x1b[6n');
  await container.next('input');
  assert.equal((await before.terminals.read(info.sessionId)).output, 'one\x1b[6n');
  await before.terminals.resize(info.sessionId, 60, 10);
  await container.next('resize');
  await before[Symbol.asyncDispose]();
  container.highest = 1;
  container.channels = [
    channelBody(1, 2, false, [
      [0, 10, false],
      [0, 0, true],
    ]),
  ];
  await using host = await open(container, store);
  const follow = await container.next('follow');
  assert.deepEqual([follow.channel, Number(follow.body.readBigUInt64BE(5))], [1, 0]);
  container.data(1, 0, 0, 'one\x1b[6ntwo');
  container.say(0x88, u32(1), u64(6));
  await sleep(10);
  assert.deepEqual(await host.terminals.list(), [{ ...info, rows: 10, cols: 60 }]);
  assert.equal((await host.terminals.read(info.sessionId)).output, 'two');
  assert.equal((await host.terminals.read(info.sessionId, { mode: 'snapshot' })).output, 'onetwo');
  assert.deepEqual(
    container.requests.filter(({ type }) => type === 5),
    [],
  );
});
