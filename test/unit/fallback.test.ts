import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { MarkedStream, type Piece } from '../../src/sandbox/session/plain/marked-stream.ts';
import { Outflow } from '../../src/sandbox/session/plain/outflow.ts';
import { hostRefused, whyRefused } from '../../src/sandbox/session/plain/refused.ts';
import { readRequest } from '../../src/sandbox/session/plain/requests.ts';
import { AppError, HostRefused } from '../../src/errors.ts';
import type { Container } from '../../src/sandbox/ports/runtime.ts';
import * as request from '../../src/sandbox/session/wire/request.ts';

/** The pieces, with neighbouring bytes joined. */
function pieces(stream: MarkedStream, chunks: readonly Uint8Array[]): string[] {
  const all: string[] = [];
  const add = (piece: Piece) => {
    if ('mark' in piece) return all.push(`<${piece.mark}>`, '');
    return all.push((all.pop() ?? '') + piece.bytes.toString());
  };
  for (const chunk of chunks) for (const piece of stream.push(chunk)) add(piece);
  return all;
}

describe('marks in a stream', () => {
  test('are found wherever the chunks are cut', () => {
    const bytes = Buffer.from('a NO\0NONCEbegin 1\0NONhi\nNONCEend 1 0 /w\0NNONCEx\0z');
    const whole = pieces(new MarkedStream('NONCE'), [bytes]);
    assert.deepEqual(whole, ['a NO\0', '<begin 1>', 'NONhi\n', '<end 1 0 /w>', 'N', '<x>', 'z']);
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length), { maxLength: 12 }), (cuts) => {
        const at = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
        const chunks = at.slice(1).map((end, index) => bytes.subarray(at[index], end));
        assert.deepEqual(pieces(new MarkedStream('NONCE'), chunks), whole);
      }),
    );
  });

  test('without an end are bytes, after 64 KiB', () => {
    const bytes = Buffer.from(`NONCE${'x'.repeat(64 * 1024)}`);
    assert.deepEqual(pieces(new MarkedStream('NONCE'), [bytes]), [bytes.toString()]);
  });
});

test('a stream waits for credit, and goes nowhere once it is closed', async () => {
  const seen: [number, string][] = [];
  const out = new Outflow(4, (offset, bytes) => seen.push([offset, Buffer.from(bytes).toString()]));
  const written = out.write(Buffer.from('abcdefghij'));
  assert.deepEqual(seen, [[0, 'abcd']]);
  out.credit(6);
  await new Promise(setImmediate);
  assert.deepEqual(seen.slice(1), [[4, 'ef']]);
  out.close();
  await written;
  assert.equal(out.sent, 6);
});

test('requests are read as they were written', () => {
  const text = Buffer.from('echo hi');
  assert.deepEqual(readRequest(request.run(7, 3, 1024, text)[0]!), {
    type: 'run',
    channel: 7,
    status: 3,
    window: 1024,
    total: 7,
    text,
  });
  const open = { rows: 24, cols: 80, window: 10, cwd: '/w', argv: ['/bin/bash', '-c', 'x'] };
  assert.deepEqual(readRequest(request.open(8, { ...open, ring: 1, env: ['A=b=c', 'D='] })), {
    type: 'open',
    channel: 8,
    ...open,
    env: { A: 'b=c', D: '' },
  });
  const signal = { type: 'signal', channel: 9, name: 'INT', scope: 'tree' };
  assert.deepEqual(readRequest(request.signal(9, 'INT', 'tree')), signal);
  assert.deepEqual(readRequest(request.credit(9, 1, 2 ** 40)), {
    type: 'credit',
    channel: 9,
    stream: 1,
    limit: 2 ** 40,
  });
  assert.deepEqual(readRequest(request.reset(false)), { type: 'reset' });
  assert.deepEqual(readRequest(request.resize(9, 3, 4)), { type: 'resize', channel: 9, rows: 3, cols: 4 });
});

test('only a host that ended at once is done without', async () => {
  const silent = new HostRefused('no greeting', undefined);
  assert.equal(hostRefused(new AppError('unsupported', 'an open network is not protected here')), false);
  const seen = async (state: { running: boolean; exitCode: number | null; oomKilled?: boolean }) => {
    const container = { state: async () => ({ paused: false, oomKilled: false, ...state }) } as unknown as Container;
    const error = await whyRefused(container, silent);
    return [(error as AppError).code, hostRefused(error)];
  };
  assert.deepEqual(await seen({ running: false, exitCode: 126 }), ['unsupported', true]);
  assert.deepEqual(await seen({ running: false, exitCode: 1 }), ['unsupported', true]);
  assert.deepEqual(await seen({ running: false, exitCode: 255 }), ['unsupported', true]);
  assert.deepEqual(await seen({ running: false, exitCode: 137, oomKilled: true }), ['sandbox_lost', false]);
  assert.deepEqual(await seen({ running: false, exitCode: 0 }), ['sandbox_lost', false]);
  assert.deepEqual(await seen({ running: true, exitCode: null }), ['timeout', false]);
});
