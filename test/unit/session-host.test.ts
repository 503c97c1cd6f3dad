import assert from 'node:assert/strict';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import type { AppError } from '../../src/errors.ts';
import type { CommandResult, Output } from '../../src/sandbox/ports/workspace.ts';
import { channelBody, ScriptedHost } from '../support/scripted-host.ts';
import { notes, open, rejects } from '../support/scripted-session.ts';

function shown(output: Output): string {
  return Buffer.concat([output.head, output.tail]).toString();
}

test('HELLO carries the version and the token', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const hello = await container.next('hello');
  assert.equal(hello.body.toString('hex'), `01${'07'.repeat(32)}`);
  assert.equal(host.alive(), true);
});

test('a command runs and its result is exact', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const running = host.shell.run('printf hi; printf no >&2; false');
  const run = await container.next('run');
  assert.equal(run.channel, 1);
  assert.equal(run.body.subarray(4, 13).toString('hex'), '00' + '00100000' + '0000001f');
  assert.equal(run.body.subarray(13).toString(), 'printf hi; printf no >&2; false');
  container.data(1, 1, 0, 'no');
  container.data(1, 0, 0, 'hi');
  container.done(1, 0, 1, [2, 2], '/tmp');
  container.eof(1, 0, 2);
  container.eof(1, 1, 2);
  const result = await running;
  assert.equal(result.commandId, 'cmd_1_0000000000001234');
  assert.equal(result.status, 'error');
  assert.equal(result.exitCode, 1);
  assert.equal(shown(result.stdout), 'hi');
  assert.equal(shown(result.stderr), 'no');
  assert.equal(result.cwd, '/tmp');
  assert.deepEqual([result.shellRestarted, result.background, result.cause], [false, false, undefined]);
  assert.equal(await host.shell.cwd(), '/tmp');
});

test("the next command gets the last one's exit code as $?", async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const first = host.shell.run('(exit 77)');
  container.answer((await container.next('run')).channel, '', 77);
  await first;
  void host.shell.run('echo $?');
  assert.equal((await container.next('run')).body[4], 77);
});

test('a long command goes as RUN and TEXTs', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const text = `: ${'x'.repeat(150_000)}`;
  const running = host.shell.run(text);
  const run = await container.next('run');
  const parts = [run.body.subarray(13)];
  for (let held = parts[0]?.length ?? 0; held < text.length; held = Buffer.concat(parts).length) {
    parts.push((await container.next('text')).body.subarray(4));
  }
  assert.equal(Buffer.concat(parts).toString(), text);
  container.answer(1, '');
  assert.equal((await running).exitCode, 0);
});

test('calls run one after another, and one too many is refused with the limit and its place', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const places: number[] = [];
  const calls = ['a', 'b', 'c'].map((text) => host.shell.run(text, { onQueued: (place) => places.push(place) }));
  await rejects(
    host.shell.run('d'),
    'busy',
    /^2 commands wait for this sandbox's shell, which is the limit, and this one would be number 3\./,
  );
  assert.deepEqual(places, [1, 2]);
  for (const text of ['a', 'b', 'c']) {
    const run = await container.next('run');
    assert.equal(run.body.subarray(13).toString(), text);
    assert.equal(container.requests.filter(({ type }) => type === 2).length, 0);
    container.answer(run.channel, text.toUpperCase());
  }
  assert.deepEqual(
    (await Promise.all(calls)).map(({ stdout }) => shown(stdout)),
    ['A', 'B', 'C'],
  );
});

test('a command that the shell never read runs once more on the next shell, then is an error', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const running = host.shell.run('echo hi');
  container.done((await container.next('run')).channel, 2, 0, [0, 0]);
  await sleep(10);
  assert.deepEqual(
    container.requests.filter(({ type }) => type === 2),
    [],
  );
  container.generation = 2;
  container.shell();
  const again = await container.next('run');
  assert.equal(again.channel, 2);
  container.answer(2, 'hi\n');
  const result = await running;
  assert.equal(shown(result.stdout), 'hi\n');
  assert.equal(result.shellRestarted, true);

  const second = host.shell.run('echo hi');
  for (const generation of [3, 4]) {
    container.done((await container.next('run')).channel, 2, 0, [0, 0]);
    container.generation = generation;
    container.shell();
  }
  await rejects(second, 'internal', /^The shell ended twice before it read the command; the command did not run\.$/);
});

test('the end of the shell is told once, and by the command that ended it', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const dies = host.shell.run('exit 3');
  container.done((await container.next('run')).channel, 1, 3, [0, 0]);
  container.eof(1, 0, 0);
  container.eof(1, 1, 0);
  assert.deepEqual([(await dies).exitCode, (await dies).shellRestarted], [3, true]);
  container.generation = 2;
  container.shell();
  for (const restarted of [false, true, false]) {
    const next = host.shell.run('true');
    container.answer((await container.next('run')).channel, '');
    assert.equal((await next).shellRestarted, restarted);
    if (restarted) continue;
    container.generation += 1;
    if (container.generation === 3) container.shell();
    await sleep(5);
  }
});

test('wait hands back a running command that check and stop know', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const call = host.shell.run('slow', { wait: 0.05 });
  const { channel } = await container.next('run');
  container.data(channel, 0, 0, 'part');
  const early = await call;
  assert.deepEqual([early.status, early.exitCode, shown(early.stdout)], ['running', null, 'part']);
  const page = await host.shell.check(early.commandId, { offset: 2 });
  assert.deepEqual([page.status, Buffer.from(page.stdout.bytes).toString(), page.stdout.next], ['running', 'rt', 4]);
  const waiting = host.shell.check(early.commandId, { offset: 4, wait: 5 });
  container.data(channel, 0, 4, 'more');
  assert.equal(Buffer.from((await waiting).stdout.bytes).toString(), 'more');
  const stopping = host.shell.stop(early.commandId, 'TERM');
  const sent = [await container.next('signal'), await container.next('signal')].map(({ body }) => body.toString('hex'));
  assert.deepEqual(sent, ['000000010200', '000000010f02']);
  container.done(channel, 0, 143, [8, 0]);
  container.eof(channel, 0, 8);
  container.eof(channel, 1, 0);
  const stopped = await stopping;
  assert.deepEqual([stopped.status, stopped.exitCode, stopped.cause?.code], ['cancelled', 143, 'cancelled']);
  await rejects(host.shell.check('cmd_9_0'), 'not_found', /^command_id: this sandbox knows no command "cmd_9_0"\.$/);
});

test('a timeout interrupts the shell first, then its processes, in steps', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const call = host.shell.run('sleep 100', { timeout: 0.05 });
  const { channel } = await container.next('run');
  const sent: string[] = [];
  for (let count = 0; count < 11; count++) sent.push((await container.next('signal')).body.subarray(4).toString('hex'));
  assert.deepEqual(sent, ['0200', '0202', '0200', '0f02', '0200', '0202', '0200', '0902', '0200', '0202', '0900']);
  container.done(channel, 1, 137, [0, 0]);
  container.eof(channel, 0, 0);
  container.eof(channel, 1, 0);
  const result = await call;
  assert.deepEqual([result.status, result.exitCode, result.shellRestarted], ['timeout', 137, true]);
  assert.equal(result.cause?.code, 'timeout');
});

test('aborting interrupts a running command and takes a waiting one out of the queue', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const [first, second] = [new AbortController(), new AbortController()];
  const running = host.shell.run('a', { signal: first.signal });
  const waiting = host.shell.run('b', { signal: second.signal });
  const { channel } = await container.next('run');
  second.abort();
  await rejects(waiting, 'cancelled', /^The command was cancelled before its turn came; it did not run\.$/);
  first.abort();
  await container.next('signal');
  container.done(channel, 0, 130, [0, 0]);
  container.eof(channel, 0, 0);
  container.eof(channel, 1, 0);
  assert.equal((await running).status, 'cancelled');
});

test('output is credited as it is taken', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const call = host.shell.run('flood');
  const { channel } = await container.next('run');
  const piece = 'x'.repeat(65536);
  for (let at = 0; at < 9; at++) container.data(channel, 0, at * 65536, piece);
  const credit = await container.next('credit');
  assert.deepEqual([credit.body.readUInt8(4), Number(credit.body.readBigUInt64BE(5))], [0, 8 * 65536 + 1048576]);
  container.done(channel, 0, 0, [9 * 65536, 0]);
  container.eof(channel, 0, 9 * 65536);
  container.eof(channel, 1, 0);
  const { stdout } = await call;
  assert.deepEqual(
    [stdout.total, stdout.head.length, stdout.tail.length, stdout.omitted],
    [589824, 16384, 32768, 540672],
  );
});

test('a host that runs over its credit loses its sandbox', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const call = host.shell.run('x');
  const { channel } = await container.next('run');
  container.data(channel, 0, 2 ** 40, 'x');
  container.data(channel, 0, 5, 'x');
  assert.equal((await call).status, 'sandbox_lost');
  assert.equal(await host.closed, 'its session host broke the protocol');
  assert.equal(host.alive(), false);
  await rejects(host.shell.run('y'), 'sandbox_lost', /^The sandbox was lost/);
});

test('a broken stream is made again and the output goes on where it was', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const call = host.shell.run('x');
  const { channel } = await container.next('run');
  container.data(channel, 0, 0, 'one ');
  await sleep(5);
  container.highest = 1;
  container.running = 1;
  container.channels = [
    channelBody(1, 1, false, [
      [0, 8, false],
      [0, 0, false],
    ]),
  ];
  container.cut();
  const follow = await container.next('follow');
  assert.deepEqual(follow.body.toString('hex'), '00000001' + '00' + '0000000000000004' + '0000000000100004');
  container.data(channel, 0, 4, 'two');
  container.done(channel, 0, 0, [7, 0]);
  container.eof(channel, 0, 7);
  container.eof(channel, 1, 0);
  const result = await call;
  assert.deepEqual([shown(result.stdout), result.stdout.dropped, container.attaches], ['one two', 0, 2]);
});

test('what was forgotten on a broken stream is forgotten again, and displaces nothing that is waited for', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const begin = async () => {
    const call = host.shell.run('x');
    return { call, channel: (await container.next('run')).channel };
  };
  for (let count = 0; count < 5; count++) {
    const { call, channel } = await begin();
    container.answer(channel, 'ok');
    await call;
  }
  const { call, channel } = await begin();
  container.data(channel, 0, 0, 'one ');
  container.done(channel, 0, 0, [7, 0]);
  await sleep(5);
  for (const forgotten of [1, 2]) assert.equal((await container.next('forget')).channel, forgotten);
  const ended = (id: number) =>
    channelBody(id, 1, true, [
      [0, 2, true],
      [0, 0, true],
    ]);
  const waitedFor = channelBody(channel, 1, true, [
    [0, 7, true],
    [0, 0, true],
  ]);
  container.highest = channel;
  container.channels = [...[1, 2, 3, 4, 5].map(ended), waitedFor];
  container.cut();
  await container.next('follow');
  container.data(channel, 0, 4, 'two');
  container.eof(channel, 0, 7);
  container.eof(channel, 1, 0);
  const result = await call;
  assert.deepEqual([shown(result.stdout), result.background], ['one two', false]);
  const forgotten = container.requests.filter(({ type }) => type === 9).map((request) => request.channel);
  assert.deepEqual(forgotten, [1, 2]);
});

test('an ended command whose output does not come is told of with what is lost', { timeout: 40_000 }, async (t) => {
  const container = new ScriptedHost();
  await using host = await open(container);
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const call = host.shell.run('x');
  const { channel } = await container.next('run');
  container.data(channel, 0, 0, 'one ');
  container.done(channel, 0, 0, [7, 0]);
  let result: CommandResult | undefined;
  void call.then((ended) => (result = ended));
  for (let turns = 0; turns < 1000 && !result; turns++) {
    await turn();
    t.mock.timers.tick(100);
  }
  assert.ok(result);
  assert.deepEqual(
    [result.status, shown(result.stdout), result.stdout.total, result.stdout.dropped],
    ['success', 'one ', 7, 3],
  );
});

test('a command that a broken stream lost is sent again', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const call = host.shell.run('x');
  await container.next('run');
  container.cut();
  const again = await container.next('run');
  assert.equal(again.channel, 1);
  container.answer(1, 'ok');
  assert.equal(shown((await call).stdout), 'ok');
});

test('a container that ends loses its command, and says so', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const [running, waiting] = [host.shell.run('x'), host.shell.run('y')];
  const { channel } = await container.next('run');
  container.data(channel, 0, 0, 'part');
  await sleep(5);
  await container.remove();
  const refused = rejects(
    waiting,
    'sandbox_lost',
    /^The sandbox was lost before this command ran: its container ended\.$/,
  );
  const result = await running;
  assert.deepEqual([result.status, result.exitCode, shown(result.stdout)], ['sandbox_lost', null, 'part']);
  assert.equal(result.cause?.message, 'The sandbox was lost while the command ran: its container ended.');
  await refused;
  assert.equal(await host.closed, 'its container ended');
});

test('a command in a sandbox that is stopped for a reason is told the reason', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const running = host.shell.run('x');
  await container.next('run');
  host.endsBecause?.('its owner used too much');
  await container.remove();
  const { cause } = await running;
  assert.equal(cause?.message, 'The sandbox was lost while the command ran: its owner used too much.');
  assert.equal(await host.closed, 'its owner used too much');
});

test('another host behind the same name is another sandbox', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  container.boot = 0x9999n;
  container.cut();
  assert.equal(await host.closed, 'its container was started anew');
});

test('a new server goes on with what the one before it began', async () => {
  const container = new ScriptedHost();
  const store = notes();
  const before = await open(container, store);
  void before.shell.run('make all', { wait: 0.02 });
  await container.next('run');
  await sleep(40);
  await before[Symbol.asyncDispose]();
  container.highest = 3;
  container.running = 1;
  container.channels = [
    channelBody(1, 1, false, [
      [0, 5, false],
      [0, 0, false],
    ]),
    channelBody(2, 1, true, [
      [2, 6, true],
      [0, 0, true],
    ]),
  ];
  await using host = await open(container, store);
  const follows = [
    await container.next('follow'),
    await container.next('follow'),
    await container.next('follow'),
    await container.next('follow'),
  ];
  assert.deepEqual(
    follows.map(({ channel, body }) => [channel, body.readUInt8(4), Number(body.readBigUInt64BE(5))]),
    [
      [2, 0, 2],
      [2, 1, 0],
      [1, 0, 0],
      [1, 1, 0],
    ],
  );
  container.data(1, 0, 0, 'built');
  container.data(2, 0, 2, 'tail');
  container.done(2, 0, 4, [6, 0]);
  await sleep(10);
  const running = await host.shell.check('cmd_1_0000000000001234');
  assert.deepEqual(
    [running.command, running.status, Buffer.from(running.stdout.bytes).toString()],
    ['make all', 'running', 'built'],
  );
  const ended = await host.shell.check('cmd_2_0000000000001234');
  assert.deepEqual(
    [ended.command, ended.exitCode, Buffer.from(ended.stdout.bytes).toString(), ended.stdout.evicted],
    ['', 4, 'tail', 2],
  );
  const next = host.shell.run('after');
  await sleep(10);
  assert.deepEqual(
    container.requests.filter(({ type }) => type === 2),
    [],
  );
  container.done(1, 0, 0, [5, 0]);
  const run = await container.next('run');
  assert.equal(run.channel, 4);
  container.answer(4, 'ok');
  assert.equal(shown((await next).stdout), 'ok');
});

test('letting go returns what there is and ends nothing', async () => {
  const container = new ScriptedHost();
  const host = await open(container);
  const [running, waiting] = [host.shell.run('x'), host.shell.run('y')];
  const { channel } = await container.next('run');
  container.data(channel, 0, 0, 'part');
  await sleep(5);
  const refused = rejects(waiting, 'draining', /^The server is stopping; this command did not run\.$/);
  await host[Symbol.asyncDispose]();
  const result = await running;
  assert.deepEqual([result.status, shown(result.stdout)], ['running', 'part']);
  await refused;
  assert.deepEqual(
    container.requests.filter(({ type }) => type === 7),
    [],
  );
});

test('a reset replaces the shell and refuses what waits', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const [running, waiting] = [host.shell.run('x'), host.shell.run('y')];
  const { channel } = await container.next('run');
  const refused = rejects(
    waiting,
    'cancelled',
    /^The shell was reset before this command had its turn; it did not run\.$/,
  );
  const reset = host.shell.reset();
  assert.equal((await container.next('reset')).body.toString('hex'), '00');
  container.done(channel, 1, 137, [0, 0]);
  container.eof(channel, 0, 0);
  container.eof(channel, 1, 0);
  container.generation = 2;
  container.shell();
  await reset;
  assert.equal((await running).status, 'cancelled');
  await refused;
  const next = host.shell.run('z');
  container.answer((await container.next('run')).channel, '');
  assert.equal((await next).shellRestarted, false);
});

test('a reset tells the end of what it ended, also where the host tells of the new shell first', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const call = await host.shell.run('x', { wait: 0 });
  const { channel } = await container.next('run');
  const reset = host.shell.reset();
  await container.next('reset');
  container.generation = 2;
  container.shell();
  setImmediate(() => container.done(channel, 1, 137, [0, 0]));
  await reset;
  assert.equal((await host.shell.check(call.commandId)).status, 'cancelled');
});

test('only so many ended commands are remembered', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const ids: string[] = [];
  for (let count = 0; count < 6; count++) {
    const call = host.shell.run('x');
    container.answer((await container.next('run')).channel, 'y');
    ids.push((await call).commandId);
  }
  assert.deepEqual([(await container.next('forget')).channel, (await container.next('forget')).channel], [1, 2]);
  await rejects(host.shell.check(ids[1] ?? ''), 'not_found', /knows no command/);
  assert.equal(Buffer.from((await host.shell.check(ids[2] ?? '')).stdout.bytes).toString(), 'y');
});

test('commands that were taken out of the queue count among the remembered', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  void host.shell.run('first', { wait: 0 });
  const ids: string[] = [];
  for (let i = 0; i < 5; i++) {
    const { commandId } = await host.shell.run('queued', { wait: 0 });
    assert.equal((await host.shell.stop(commandId, 'INT')).status, 'cancelled');
    ids.push(commandId);
  }
  await rejects(host.shell.check(ids[0] ?? ''), 'not_found', /knows no command/);
  assert.equal((await host.shell.check(ids[1] ?? '')).status, 'cancelled');
  assert.deepEqual(
    container.requests.filter(({ type }) => type === 9),
    [],
  );
});

test('only so many of the commands that a host lists are taken over, though none of them settles', async () => {
  const container = new ScriptedHost();
  container.highest = 100;
  container.channels = Array.from({ length: 100 }, (_, i) =>
    channelBody(i + 1, 1, true, [
      [0, 9, false],
      [0, 9, false],
    ]),
  );
  await using _host = await open(container);
  for (let forgotten = 1; forgotten <= 92; forgotten++)
    assert.equal((await container.next('forget')).channel, forgotten);
  await sleep(20);
  assert.equal(container.requests.filter(({ type }) => type === 9).length, 0);
});

const refusals: readonly [string, string, object, AppError['code'], RegExp][] = [
  [
    'NUL characters',
    'a\0b',
    {},
    'invalid_argument',
    /^command: expected text without NUL characters; there is one at position 1\.$/,
  ],
  [
    'a text over 1 MiB',
    'x'.repeat(1048577),
    {},
    'too_large',
    /^command: expected at most 1048576 bytes; got 1048577\./,
  ],
  [
    'a timeout above the cap',
    'x',
    { timeout: 3601 },
    'invalid_argument',
    /^timeout: expected seconds above 0 and at most 3600; got 3601\.$/,
  ],
  ['a timeout of 0', 'x', { timeout: 0 }, 'invalid_argument', /^timeout: expected seconds above 0/],
  ['a negative wait', 'x', { wait: -1 }, 'invalid_argument', /^wait: expected seconds from 0 to 3600; got -1\.$/],
];

for (const [name, text, options, code, message] of refusals) {
  test(`${name} is refused before anything runs`, async () => {
    const container = new ScriptedHost();
    await using host = await open(container);
    await rejects(host.shell.run(text, options), code, message);
    assert.deepEqual(
      container.requests.filter(({ type }) => type === 2),
      [],
    );
  });
}

test('activity counts the work that keeps a sandbox', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  assert.deepEqual(await host.activity(), { running: false, processes: 3, watched: 0 });
  void host.shell.run('x');
  assert.deepEqual(await host.activity(), { running: true, processes: 3, watched: 0 });
});
