import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Demux } from '../../src/runtimes/docker/demux.ts';

function frame(stream: number, bytes: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
}

function demux(chunks: readonly Buffer[]): { out: string; err: string; whole: boolean } {
  const parts = new Demux();
  const streams = { 1: [] as Uint8Array[], 2: [] as Uint8Array[] };
  for (const chunk of chunks) for (const { stream, bytes } of parts.push(chunk)) streams[stream].push(bytes);
  const hex = (pieces: Uint8Array[]) => Buffer.concat(pieces).toString('hex');
  return { out: hex(streams[1]), err: hex(streams[2]), whole: parts.whole };
}

function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const edges = [0, ...at.map((edge) => edge % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  return edges.slice(1).map((edge, i) => bytes.subarray(edges[i], edge));
}

describe('the multiplexed stream', () => {
  test('is taken apart', () => {
    const chunk = Buffer.concat([frame(1, Buffer.from('out')), frame(2, Buffer.from('err')), frame(1, Buffer.of())]);
    assert.deepEqual(demux([chunk]), { out: '6f7574', err: '657272', whole: true });
  });

  test('hands on what is one stream’s as one piece, in the order of the streams', () => {
    const frames: [number, string][] = [
      [1, 'a'],
      [1, ''],
      [1, 'b'],
      [2, 'c'],
      [1, 'd'],
      [1, 'e'],
    ];
    const chunk = Buffer.concat(frames.map(([stream, text]) => frame(stream, Buffer.from(text))));
    const pieces = new Demux().push(chunk.subarray(0, -1));
    assert.deepEqual(
      pieces.map(({ stream, bytes }) => `${stream} ${Buffer.from(bytes).toString()}`),
      ['1 ab', '2 c', '1 d'],
    );
  });

  test('says when it ends within a header or a frame', () => {
    const bytes = frame(1, Buffer.from('abc'));
    for (let length = 1; length < bytes.length; length++)
      assert.equal(demux([bytes.subarray(0, length)]).whole, false, `cut at ${length}`);
  });

  test('is refused where it is none', () => {
    assert.throws(() => demux([Buffer.from('HTTP/1.1 500')]), {
      message: "the engine's stream is not multiplexed: header 485454502f312e31",
    });
  });

  test('gives the same bytes wherever the chunks are cut', () => {
    const frames = fc.array(fc.tuple(fc.constantFrom(1, 2), fc.uint8Array({ maxLength: 40 })), { maxLength: 12 });
    fc.assert(
      fc.property(frames, fc.array(fc.nat()), (sent, edges) => {
        const bytes = Buffer.concat(sent.map(([stream, body]) => frame(stream, body)));
        const expected = (wanted: number) =>
          Buffer.concat(sent.filter(([stream]) => stream === wanted).map(([, body]) => body)).toString('hex');
        assert.deepEqual(demux(cut(bytes, edges)), { out: expected(1), err: expected(2), whole: true });
      }),
    );
  });

  test('throws or gives no more than it got, whatever comes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          const { out, err } = demux([Buffer.from(bytes)]);
          assert.ok((out.length + err.length) / 2 <= bytes.length);
        } catch (error) {
          assert.match((error as Error).message, /^the engine's stream is not multiplexed/);
        }
      }),
    );
  });
});
