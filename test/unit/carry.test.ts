import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import type { SessionHost } from '../../src/sandbox/session/wire/session-host.ts';
import { ScriptedHost, u32, u8 } from '../support/scripted-host.ts';
import { notes, open } from '../support/scripted-session.ts';

const snapshot = Buffer.from("/usr\0umask 0022\n\0shopt -s nullglob\n\0\0declare -- V=$'\\377'\n\0\0set +o vi\n\0");

/** The opening of a host that is given `carried`, and what is logged meanwhile. */
function give(container: ScriptedHost, carried: Uint8Array) {
  const logged: Record<string, unknown>[] = [];
  const write = (line: string) => void logged.push(JSON.parse(line) as Record<string, unknown>);
  return { opening: open(container, notes(), { log: pino({ level: 'warn' }, { write }), carried }), logged };
}

/** What the log says of a state that was not restored. */
function reasons(logged: readonly Record<string, unknown>[]): unknown[] {
  return logged
    .filter(({ event }) => event === 'shell.not_restored')
    .map(({ err }) => (err as { message: string }).message);
}

async function restartedBy(container: ScriptedHost, host: SessionHost): Promise<boolean> {
  const running = host.shell.run('true');
  container.answer((await container.next('run')).channel, '');
  return (await running).shellRestarted;
}

test('a snapshot is put together from its parts, byte for byte', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const carried = host.carry();
  const asked = await container.next('carry');
  for (let at = 0; at < snapshot.length; at += 7) {
    container.snapshot(asked, snapshot.length, snapshot.subarray(at, at + 7));
  }
  assert.deepEqual(await carried, snapshot);
});

test('there may be nothing to carry', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const carried = host.carry();
  container.snapshot(await container.next('carry'), 0, '');
  assert.equal(await carried, undefined);
});

test('a host of an earlier version is asked for nothing and given nothing', async () => {
  const container = new ScriptedHost();
  container.level = undefined;
  const { opening, logged } = give(container, snapshot);
  await using host = await opening;
  assert.equal(await host.carry(), undefined);
  assert.equal(await restartedBy(container, host), false);
  assert.deepEqual(
    container.requests.filter(({ type }) => type > 12),
    [],
  );
  assert.deepEqual([host.restored, container.attaches], [false, 1]);
  assert.deepEqual(reasons(logged), ['the session host is of an earlier version']);
});

const unsound: readonly [string, string | Buffer][] = [
  ['no directory', '\0u\0\0\0\0\0\0'],
  ['a relative directory', 'usr\0u\0\0\0\0\0\0'],
  ['a directory that is too long', `/${'x'.repeat(4095)}\0u\0\0\0\0\0\0`],
  ['a section too few', '/\0u\0\0\0\0\0'],
  ['a section too many', '/\0u\0\0\0\0\0\0\0'],
  ['a section without an end', '/\0u\0\0\0\0\0x'],
  ['no section at all', '/////////////'],
  ['nothing but ends', Buffer.alloc(7)],
];

for (const [name, bytes] of unsound) {
  test(`what has ${name} is no snapshot, neither from a host nor for one`, async () => {
    const container = new ScriptedHost();
    const { opening, logged } = give(container, Buffer.from(bytes));
    await using host = await opening;
    assert.equal(container.requests.filter(({ type }) => type === 14).length, 0);
    assert.deepEqual(reasons(logged), ['what was kept is no snapshot of a shell']);
    const carried = host.carry();
    container.snapshot(await container.next('carry'), Buffer.byteLength(bytes), bytes);
    assert.equal(await carried, undefined);
    assert.equal(host.alive(), true);
  });
}

test('an answer that does not come is not waited for, and comes too late then', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const started = performance.now();
  assert.equal(await host.carry(), undefined);
  assert.ok(performance.now() - started >= 1990);
  const late = await container.next('carry');
  const carried = host.carry();
  const asked = await container.next('carry');
  container.snapshot(late, 3, '/a\0');
  container.snapshot(asked, snapshot.length, snapshot.subarray(0, 20));
  container.snapshot(late, 3, '/a\0');
  container.snapshot(asked, snapshot.length, snapshot.subarray(20));
  container.snapshot(asked, snapshot.length, snapshot);
  assert.deepEqual(await carried, snapshot);
  assert.equal(host.alive(), true);
});

for (const [name, total, bytes] of [
  ['more bytes than it was said to have', 20, 'x'.repeat(11)],
  ['another length in its next part', 21, 'x'],
] as const) {
  test(`a snapshot with ${name} ends the connection for good`, { timeout: 10_000 }, async () => {
    const container = new ScriptedHost();
    await using host = await open(container);
    const carried = host.carry();
    const asked = await container.next('carry');
    container.snapshot(asked, 20, 'x'.repeat(10));
    container.snapshot(asked, total, bytes);
    assert.equal(await carried, undefined);
    assert.equal(await host.closed, 'its session host broke the protocol');
    assert.equal(await host.carry(), undefined);
  });
}

test('a connection that breaks meanwhile carries nothing', async () => {
  const container = new ScriptedHost();
  await using host = await open(container);
  const carried = host.carry();
  await container.next('carry');
  container.cut();
  assert.equal(await carried, undefined);
});

test('a fresh host is given the snapshot in parts before the first command, whose shell is no news then', async () => {
  const container = new ScriptedHost();
  const large = Buffer.concat([Buffer.from('/usr\0u\0\0\0'), Buffer.alloc(150_000, 'v'), Buffer.from('\0\0\0')]);
  const { opening, logged } = give(container, large);
  let isOpen = false;
  void opening.then(() => (isOpen = true));
  const parts = [await container.next('give'), await container.next('give'), await container.next('give')];
  assert.deepEqual(
    parts.map(({ body }) => [body.readUInt32BE(0), body.length]),
    [
      [150_012, 65_540],
      [150_012, 65_540],
      [150_012, 18_944],
    ],
  );
  assert.deepEqual(Buffer.concat(parts.map(({ body }) => body.subarray(4))), large);
  assert.equal(isOpen, false);
  container.generation = 2;
  container.shell('/usr');
  await using host = await opening;
  assert.deepEqual([host.restored, await host.shell.cwd(), reasons(logged)], [true, '/usr', []]);
  assert.equal(await restartedBy(container, host), false);
  container.generation = 3;
  container.shell();
  assert.equal(await restartedBy(container, host), true);
});

test('a host that refuses the snapshot is opened all the same', async () => {
  const container = new ScriptedHost();
  const { opening, logged } = give(container, snapshot);
  await container.next('give');
  container.say(0x89, u32(0), u8(1), 'the shell has run a command\0');
  await using host = await opening;
  assert.deepEqual([host.restored, reasons(logged)], [false, ['the shell has run a command']]);
  assert.equal(await restartedBy(container, host), false);
});

test('a host that goes while it is given the snapshot is not open', async () => {
  const container = new ScriptedHost();
  const { opening, logged } = give(container, snapshot);
  await container.next('give');
  await container.remove();
  await using host = await opening;
  assert.equal(await host.closed, 'its container ended');
  assert.deepEqual(reasons(logged), ['the connection to the session host broke']);
});
