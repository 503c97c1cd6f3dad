import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, appendFileSync, existsSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { AppError } from '../../src/errors.ts';
import {
  AuditLog,
  audited,
  auditSandbox,
  verifyAudit,
  verifyAuditFiles,
  type AuditFields,
} from '../../src/sandbox/intercept/audit/audit.ts';
import { chainLine } from '../../src/sandbox/intercept/audit/chain.ts';
import { withCallContext } from '../../src/sandbox/call-context.ts';
import { metered, workspaceMetrics } from '../../src/sandbox/intercept/metered.ts';
import { observed, type WorkspaceCall } from '../../src/sandbox/intercept/observed.ts';
import type { CommandResult, Workspace } from '../../src/sandbox/ports/workspace.ts';

const directory = mkdtempSync(join(tmpdir(), 'berth-audit-'));
after(() => rmSync(directory, { recursive: true }));

let files = 0;
const newFile = (): string => join(directory, `${(files += 1)}`, 'audit.jsonl');
const silent = pino({ level: 'silent' });

function auditLog(file: string, options: { maxSize?: number; keep?: number; copy?: (line: string) => void } = {}) {
  return new AuditLog({ file, maxSize: 1024 * 1024, keep: 3, log: silent, ...options });
}

const linesOf = (file: string): string[] => readFileSync(file, 'utf8').trimEnd().split('\n');
const check = (text: string) => verifyAudit(Readable.from([text]));

async function written(events: readonly AuditFields[], file = newFile()): Promise<string> {
  await using log = auditLog(file);
  for (const event of events) await log.write(event);
  return readFileSync(file, 'utf8');
}

describe('the audit log', () => {
  it('is one JSON object a line, numbered, each naming the one before', async () => {
    const text = await written([
      { event: 'call', op: 'shell.run' },
      { event: 'call', op: 'files.read' },
    ]);
    const [one, two] = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(Object.keys(one), ['seq', 'time', 'event', 'op', 'prev', 'hash']);
    assert.deepEqual([one.seq, one.prev], [1, '0'.repeat(64)]);
    assert.deepEqual([two.seq, two.prev], [2, one.hash]);
    assert.match(one.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.deepEqual(await check(text), { lines: 2, first: 1, last: 2, hash: two.hash });
  });

  it('goes on after a restart', async () => {
    const file = newFile();
    await written([{ event: 'a' }], file);
    const text = await written([{ event: 'b' }], file);
    assert.equal((await check(text)).last, 2);
  });

  it('cuts off half a line that a crash left', async () => {
    const file = newFile();
    await written([{ event: 'a' }], file);
    appendFileSync(file, '{"seq":2,"event":"torn');
    const text = await written([{ event: 'b' }], file);
    assert.deepEqual(
      text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).event),
      ['a', 'b'],
    );
    assert.equal((await check(text)).fault, undefined);
  });

  it('is readable by its owner alone', async () => {
    const file = newFile();
    await written([{ event: 'a' }], file);
    assert.equal(statSync(file).mode & 0o777, 0o600);
  });

  it('rotates by size, keeps so many, and stays one chain', async () => {
    const file = newFile();
    const copies: string[] = [];
    await using log = auditLog(file, { maxSize: 700, keep: 2, copy: (line) => copies.push(line) });
    for (let number = 0; number < 12; number += 1) await log.write({ event: 'call', number });
    assert.equal(existsSync(`${file}.2`), true);
    assert.equal(existsSync(`${file}.3`), false);
    for (const name of [file, `${file}.1`, `${file}.2`]) assert.ok(statSync(name).size <= 700);
    const verdict = await verifyAuditFiles(file);
    assert.equal(verdict.fault, undefined);
    assert.equal(verdict.last, 12);
    assert.equal(verdict.first, 13 - verdict.lines);
    assert.equal((await check(copies.join(''))).lines, 12);
  });

  it('goes on from the rotated file when the newest is gone or empty', async () => {
    const file = newFile();
    {
      await using log = auditLog(file, { maxSize: 1 });
      await log.write({ event: 'a' });
      await log.write({ event: 'b' });
    }
    rmSync(file);
    await written([{ event: 'c' }], file);
    assert.equal(JSON.parse(linesOf(file)[0] ?? '').seq, 2);
    assert.equal((await verifyAuditFiles(file)).fault, undefined);
  });

  it('writes concurrent events one after another', async () => {
    const file = newFile();
    await using log = auditLog(file);
    await Promise.all(Array.from({ length: 200 }, (_, number) => log.write({ event: 'call', number })));
    assert.deepEqual(
      linesOf(file).map((line) => JSON.parse(line).number),
      Array.from({ length: 200 }, (_, n) => n),
    );
    assert.equal((await check(readFileSync(file, 'utf8'))).lines, 200);
  });

  it('says how many lines are missing after the disk failed', async () => {
    const file = newFile();
    await using log = auditLog(file);
    rmSync(file);
    mkdirSync(file);
    await log.write({ event: 'a' });
    await log.write({ event: 'b' });
    rmSync(file, { recursive: true });
    await log.write({ event: 'c' });
    const lines = linesOf(file).map((line) => JSON.parse(line));
    assert.deepEqual(
      lines.map(({ seq, event, lines }) => [seq, event, lines]),
      [
        [1, 'audit.lost', 2],
        [2, 'c', undefined],
      ],
    );
  });

  it('refuses to start where it cannot write', { skip: process.getuid?.() === 0 }, () => {
    const file = newFile();
    mkdirSync(join(file, '..'));
    chmodSync(join(file, '..'), 0o500);
    assert.throws(() => auditLog(file), /EACCES/);
  });

  it('holds any text on one valid line, without control characters', async () => {
    const nasty = 'a\nb\r\t\0\u001b[31m\u009b2J\u2028\u2029\u202e"}{"seq":9,"hash":"x\u007f\ufeff\ud800';
    const text = await written([{ event: nasty, tool: nasty }]);
    assert.equal(text.split('\n').length, 2);
    assert.ok(!/[^\x20-\x7e\n]/.test(text));
    assert.equal(JSON.parse(text).event, nasty);
    assert.equal((await check(text)).fault, undefined);
  });

  it('cuts a very long text', async () => {
    const text = await written([{ event: 'x'.repeat(5000) }]);
    assert.equal(JSON.parse(text).event, `${'x'.repeat(1000)}…`);
  });
});

describe('verifyAudit', async () => {
  const text = await written([{ event: 'a' }, { event: 'b', n: 1 }, { event: 'c' }, { event: 'd' }]);
  const lines = text.trimEnd().split('\n');
  const without = (index: number) => lines.toSpliced(index, 1).join('\n');
  const cases: readonly (readonly [string, string, string])[] = [
    ['a changed value', text.replace('"n":1', '"n":2'), 'Line 2 was changed or is no audit line.'],
    ['a removed line', without(1), 'Line 2 has number 3 where 2 is due: lines are missing or repeated.'],
    [
      'a repeated line',
      [...lines.slice(0, 2), lines[1], ...lines.slice(2)].join('\n'),
      'Line 3 has number 2 where 3 is due: lines are missing or repeated.',
    ],
    [
      'swapped lines',
      [lines[0], lines[2], lines[1], lines[3]].join('\n'),
      'Line 2 has number 3 where 2 is due: lines are missing or repeated.',
    ],
    [
      'a line before the first',
      chainLine({ event: 'a' }, { seq: 0, hash: '1'.repeat(64) }).line,
      'Line 1 has number 1 but follows another line.',
    ],
    ['something else', 'hello', 'Line 1 was changed or is no audit line.'],
    ['an empty line', `${lines[0]}\n\n${lines[1]}`, 'Line 2 was changed or is no audit line.'],
  ];
  for (const [what, changed, fault] of cases) {
    it(`finds ${what}`, async () => assert.equal((await check(changed)).fault, fault));
  }

  it('finds a forged line with a right hash of its own', async () => {
    const other = await written([{ event: 'a' }, { event: 'forged' }]);
    const forged = [lines[0], other.trimEnd().split('\n')[1], ...lines.slice(2)].join('\n');
    assert.match((await check(forged)).fault ?? '', /^Line 2 does not follow line number 1\.$/);
  });

  it('accepts a file whose older lines went by rotation, and an empty one', async () => {
    assert.equal((await check(without(0))).fault, undefined);
    assert.deepEqual(await check(''), { lines: 0, first: 0, last: 0, hash: '0'.repeat(64) });
  });

  it('finds any changed byte', async () => {
    const body = Buffer.from(text.trimEnd());
    const place = fc.integer({ min: 0, max: body.length - 1 });
    await fc.assert(
      fc.asyncProperty(place, fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const changed = Buffer.from(body);
        changed[at] = (changed[at] ?? 0) ^ flip;
        assert.notEqual((await verifyAudit(Readable.from([changed]))).fault, undefined);
      }),
      { numRuns: 300 },
    );
  });
});

const output = (total: number) => ({
  head: new Uint8Array(total),
  tail: new Uint8Array(),
  omitted: 0,
  total,
  dropped: 0,
});

function commandResult(more: Partial<CommandResult> = {}): CommandResult {
  const base = {
    commandId: 'c1',
    command: 'x',
    status: 'success',
    exitCode: 0,
    executionTime: 0,
    cwd: '/workspace',
  } as const;
  return { ...base, stdout: output(3), stderr: output(4), shellRestarted: false, background: false, ...more };
}

function streamOf(...sizes: number[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    pull(controller) {
      const size = sizes.shift();
      if (size === undefined) controller.close();
      else controller.enqueue(new Uint8Array(size));
    },
  });
}

function fakeWorkspace(): Workspace {
  return {
    handle: 'sbx-1',
    shell: {
      run: async (command: string) => {
        if (command === 'refuse') throw new AppError('forbidden', 'no');
        if (command === 'crash') throw new TypeError('secret internals');
        return commandResult(command === 'false' ? { status: 'error', exitCode: 1 } : {});
      },
      cwd: async () => '/workspace',
    },
    files: {
      read: async () => streamOf(10, 20),
      write: async (_path: string, body: ReadableStream<Uint8Array>) => {
        for await (const _ of body);
        return { path: 'x', size: 1, sha256: '' };
      },
      open: async () => ({ stat: {}, tag: 't', read: () => streamOf(5, 6), [Symbol.asyncDispose]: async () => {} }),
    },
    terminals: { list: async () => [] },
    status: async () => ({}),
  } as unknown as Workspace;
}

const subject = { sandbox: 'sbx-1', principal: 'p'.repeat(16), key: 'k'.repeat(16) };

function recorder() {
  const events: AuditFields[] = [];
  return { events, sink: { write: async (fields: AuditFields) => void events.push(fields) } };
}

describe('audited', () => {
  const context = { requestId: 'r-1', principal: { id: 'key:1' }, secrets: [], tool: 'execute_command' };

  it('writes who, what, and how it ended, but no text of the call', async () => {
    const { events, sink } = recorder();
    const workspace = audited(fakeWorkspace(), sink, subject);
    await withCallContext(context, () => workspace.shell.run('curl -H "Authorization: hunter2"', { timeout: 5 }));
    const [event] = events;
    assert.ok(event && typeof event['ms'] === 'number');
    assert.deepEqual(
      { ...event, ms: 0 },
      {
        event: 'call',
        ...subject,
        request: 'r-1',
        tool: 'execute_command',
        op: 'shell.run',
        args: '2dc178aae2e185a9d95836f69f0d9f1d80bfbb89afa961cb64da61fbc7a6ab09',
        args_bytes: 52,
        outcome: 'success',
        bytes_in: 0,
        bytes_out: 7,
        command: 'c1',
        exit_code: 0,
        cause: undefined,
        ms: 0,
      },
    );
    assert.ok(!JSON.stringify(events).includes('hunter2'));
  });

  it('records failures by their code', async () => {
    const { events, sink } = recorder();
    const { shell } = audited(fakeWorkspace(), sink, subject);
    await shell.run('false');
    await assert.rejects(shell.run('refuse'), AppError);
    await assert.rejects(shell.run('crash'), TypeError);
    assert.deepEqual(
      events.map(({ outcome, exit_code }) => [outcome, exit_code]),
      [
        ['error', 1],
        ['forbidden', undefined],
        ['internal', undefined],
      ],
    );
    assert.ok(!JSON.stringify(events).includes('secret internals'));
  });

  it('counts streams and writes their line at their end', async () => {
    const { events, sink } = recorder();
    const { files } = audited(fakeWorkspace(), sink, subject);
    const stream = await files.read('x');
    assert.equal(events.length, 0);
    for await (const _ of stream);
    await files.write('y', streamOf(7, 8));
    await (await files.read('x')).cancel();
    assert.deepEqual(
      events.map(({ op, bytes_in, bytes_out, outcome }) => [op, bytes_in, bytes_out, outcome]),
      [
        ['files.read', 0, 30, 'ok'],
        ['files.write', 15, 0, 'ok'],
        ['files.read', 0, 0, 'ok'],
      ],
    );
  });

  it('ends the read of an open file with the file', async () => {
    const { events, sink } = recorder();
    const { files } = audited(fakeWorkspace(), sink, subject);
    {
      await using file = await files.open('x');
      const reader = file.read().getReader();
      await reader.read();
    }
    assert.deepEqual(
      events.map(({ op, bytes_out }) => [op, bytes_out]),
      [
        ['files.open', 0],
        ['files.read', 5],
      ],
    );
  });

  it('makes an answer wait for its line', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { shell } = audited(fakeWorkspace(), { write: () => promise }, subject);
    let answered = false;
    const answer = shell.cwd().then(() => (answered = true));
    await new Promise((done) => setImmediate(done));
    assert.equal(answered, false);
    resolve();
    await answer;
  });

  it('records a sandbox’s own events', async () => {
    const { events, sink } = recorder();
    await auditSandbox(sink, 'sandbox.idled', subject, { why: 'idle' });
    assert.deepEqual(events, [
      { event: 'sandbox.idled', ...subject, request: undefined, tool: undefined, why: 'idle' },
    ]);
  });
});

describe('observed', () => {
  it('tells arguments without streams, signals and callbacks', async () => {
    const calls: WorkspaceCall[] = [];
    const { shell, files } = observed(fakeWorkspace(), (call) => {
      calls.push(call);
      return () => {};
    });
    await shell.run('x', { timeout: 1, signal: AbortSignal.timeout(1000), onOutput: () => {} });
    await files.write('p', streamOf(1), { mode: 0o600 });
    assert.deepEqual(calls, [
      { op: 'shell.run', args: ['x', { timeout: 1 }] },
      { op: 'files.write', args: ['p', { mode: 0o600 }] },
    ]);
  });

  it('passes a broken stream’s error on', async () => {
    const broken = {
      ...fakeWorkspace(),
      files: { read: async () => new ReadableStream({ pull: () => Promise.reject(new Error('cut')) }) },
    };
    const ends: unknown[] = [];
    const { files } = observed(broken as unknown as Workspace, () => (end) => void ends.push(end.error));
    await assert.rejects((await files.read('x')).getReader().read(), /cut/);
    assert.equal((ends[0] as Error).message, 'cut');
  });
});

describe('metered', () => {
  it('counts calls, outcomes and bytes under fixed labels', async () => {
    const registry = new Registry();
    const { shell, files } = metered(fakeWorkspace(), workspaceMetrics(registry));
    await shell.run('a');
    await shell.run('false');
    await assert.rejects(shell.run('refuse'));
    await assert.rejects(shell.run('crash'));
    await files.write('y', streamOf(7));
    for await (const _ of await files.read('x'));
    const text = await registry.metrics();
    for (const line of [
      'berth_workspace_calls_total{op="shell.run",outcome="success"} 1',
      'berth_workspace_calls_total{op="shell.run",outcome="error"} 1',
      'berth_workspace_calls_total{op="shell.run",outcome="forbidden"} 1',
      'berth_workspace_calls_total{op="shell.run",outcome="internal"} 1',
      'berth_workspace_calls_total{op="files.read",outcome="ok"} 1',
      'berth_workspace_bytes_total{direction="in"} 7',
      'berth_workspace_bytes_total{direction="out"} 44',
      'berth_workspace_call_duration_seconds_count{op="shell.run"} 4',
    ]) {
      assert.ok(text.includes(`${line}\n`), `${line}\n${text}`);
    }
  });
});
