import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FrameError, FrameParser, maxFrame, type HostFrame } from '../../src/sandbox/session/wire/frame.ts';

function frame(type: number, body: Uint8Array | string = ''): Buffer {
  const bytes = Buffer.from(body);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(1 + bytes.length, 0);
  head.writeUInt8(type, 4);
  return Buffer.concat([head, bytes]);
}

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex');
}

/** The frames as plain values, with the pieces of data joined. */
function parse(chunks: readonly Uint8Array[]): HostFrame[] {
  const parser = new FrameParser();
  const frames: HostFrame[] = [];
  for (const chunk of chunks) {
    for (const found of parser.push(chunk)) {
      const last = frames.at(-1);
      const joins =
        found.type === 'data' &&
        last?.type === 'data' &&
        last.channel === found.channel &&
        last.stream === found.stream &&
        last.offset + last.bytes.length === found.offset;
      if (joins) frames[frames.length - 1] = { ...last, bytes: Buffer.concat([last.bytes, found.bytes]) };
      else frames.push(found.type === 'data' ? { ...found, bytes: Buffer.from(found.bytes) } : found);
    }
  }
  return frames;
}

const samples: readonly [Buffer, HostFrame][] = [
  [
    frame(0x81, hex('01 0102030405060708 00000007')),
    { type: 'welcome', version: 1, boot: 0x0102030405060708n, highest: 7, level: 0 },
  ],
  [
    frame(0x82, hex('00000003 01 00 0000000000000005 0000000000000009 01 0000000100000000 0000000100000002 00')),
    {
      type: 'channel',
      channel: 3,
      kind: 'command',
      ended: false,
      streams: [
        { oldest: 5, end: 9, eof: true },
        { oldest: 4294967296, end: 4294967298, eof: false },
      ],
    },
  ],
  [
    frame(0x83, Buffer.concat([hex('00000002 00000011 00000003'), Buffer.from('/wörk\0')])),
    { type: 'shell', generation: 2, pid: 17, running: 3, cwd: '/wörk' },
  ],
  [frame(0x84), { type: 'ready' }],
  [
    frame(0x85, Buffer.concat([hex('00000003 01 0000000000000002'), Buffer.from('abc')])),
    { type: 'data', channel: 3, stream: 1, offset: 2, bytes: Buffer.from('abc') },
  ],
  [frame(0x86, hex('00000003 00 0000000000000005')), { type: 'eof', channel: 3, stream: 0, end: 5 }],
  [
    frame(
      0x87,
      Buffer.concat([hex('00000003 01 00000089 0000000000000005 0000000000000006 0002'), Buffer.from('/tmp\0')]),
    ),
    { type: 'done', channel: 3, how: 'shell_died', code: 137, ends: [5, 6], jobs: 2, cwd: '/tmp' },
  ],
  [frame(0x88, hex('00000004 0000000000000100')), { type: 'input_done', channel: 4, total: 256 }],
  [
    frame(0x89, Buffer.concat([hex('00000004 04'), Buffer.from('no memory\0')])),
    { type: 'error', channel: 4, code: 'no_resources', text: 'no memory' },
  ],
  [frame(0x8a, hex('0000000000000009 00000002 00000001')), { type: 'pong', cookie: 9n, processes: 2, terminals: 1 }],
  [
    frame(0x81, hex('01 0102030405060708 00000007 02')),
    { type: 'welcome', version: 1, boot: 0x0102030405060708n, highest: 7, level: 2 },
  ],
  [
    frame(0x8b, Buffer.concat([hex('0000000000000009 00000005'), Buffer.from('/a\0')])),
    { type: 'snapshot', cookie: 9n, total: 5, bytes: Buffer.from('/a\0') },
  ],
  [frame(0x8b, hex('0000000000000009 00000000')), { type: 'snapshot', cookie: 9n, total: 0, bytes: Buffer.alloc(0) }],
];

for (const [bytes, expected] of samples) {
  test(`a ${expected.type} frame is read`, () => assert.deepEqual(parse([bytes]), [expected]));
}

test('frames are read the same however the bytes are cut', () => {
  const stream = Buffer.concat(samples.map(([bytes]) => bytes));
  const expected = samples.map(([, value]) => value);
  for (let size = 1; size <= stream.length; size++) {
    const chunks: Buffer[] = [];
    for (let at = 0; at < stream.length; at += size) chunks.push(stream.subarray(at, at + size));
    assert.deepEqual(parse(chunks), expected, `in chunks of ${size}`);
  }
});

test('data is passed on as a view of the chunk', () => {
  const chunk = Buffer.from(samples[4]?.[0] ?? []);
  const [found] = new FrameParser().push(chunk);
  assert.ok(found?.type === 'data');
  assert.equal(found.bytes.buffer, chunk.buffer);
});

const broken: readonly [string, Buffer, string][] = [
  ['a length of 0', hex('00000000'), 'a frame claims 0 bytes; it may have 1 to 69632'],
  ['a length beyond the bound', hex('00011001'), 'a frame claims 69633 bytes; it may have 1 to 69632'],
  ['an unknown type', hex('00000001 00'), 'a frame has the unknown type 0'],
  ['a frame of the server', frame(0x01), 'a frame has the unknown type 1'],
  ['missing fields', frame(0x81, hex('01')), 'a frame is shorter than its fields'],
  [
    'a string without an end',
    frame(0x83, hex('00000002 00000011 00000003 41')),
    'a frame holds a string without an end',
  ],
  ['an offset beyond 2^53', frame(0x86, hex('00000003 00 0020000000000000')), 'a frame holds an offset beyond 2^53'],
  ['a third stream', frame(0x86, hex('00000003 02 0000000000000000')), 'a frame holds the unknown stream 2'],
  [
    'data without bytes',
    frame(0x85, hex('00000003 00 0000000000000000')),
    'a frame claims 0 bytes of data; it may have 1 to 65536',
  ],
  [
    'data beyond the bound',
    frame(0x85, Buffer.concat([hex('00000003 00 0000000000000000'), Buffer.alloc(65537)])),
    'a frame claims 65537 bytes of data; it may have 1 to 65536',
  ],
  [
    'a stream that begins behind its end',
    frame(0x82, hex('00000003 01 00 0000000000000009 0000000000000005 01 0000000000000000 0000000000000000 00')),
    'a stream begins behind its end',
  ],
  [
    'a snapshot beyond the bound',
    frame(0x8b, hex('0000000000000009 00101007 61')),
    'a snapshot claims 1052679 bytes; it may have 1052678',
  ],
  [
    'a part longer than its snapshot',
    frame(0x8b, hex('0000000000000009 00000001 6161')),
    'a part of a snapshot is longer than the whole',
  ],
  ['an empty part of a snapshot', frame(0x8b, hex('0000000000000009 00000001')), 'a part of a snapshot is empty'],
];

for (const [name, bytes, message] of broken) {
  test(`${name} is refused`, () => assert.throws(() => parse([bytes]), new FrameError(message)));
}

/** Bytes that look enough like frames to reach the decoders. */
const hostile = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc
      .tuple(fc.integer({ min: 0x7f, max: 0x8c }), fc.uint8Array({ maxLength: 80 }))
      .map(([type, body]) => frame(type, body)),
    fc.constantFrom(...samples.map(([bytes]) => bytes)),
    fc
      .tuple(fc.constantFrom(...samples.map(([bytes]) => bytes)), fc.nat(), fc.nat({ max: 255 }))
      .map(([bytes, at, value]) => {
        const copy = Buffer.from(bytes);
        copy[at % copy.length] = value;
        return copy;
      }),
  ),
  { maxLength: 12 },
);

test('hostile bytes end in a FrameError or in frames, and hold no more than one frame', () => {
  const seconds = Number(process.env['FUZZ_SECONDS'] ?? 0);
  const bound = seconds > 0 ? { numRuns: 1e9, interruptAfterTimeLimit: seconds * 1000 } : { numRuns: 20_000 };
  fc.assert(
    fc.property(hostile, fc.integer({ min: 1, max: 40 }), (parts, size) => {
      const bytes = Buffer.concat(parts);
      const parser = new FrameParser();
      try {
        for (let at = 0; at < bytes.length; at += size) {
          for (const found of parser.push(bytes.subarray(at, at + size))) assert.ok(found.type);
          assert.ok(parser.held <= Math.min(at + size, maxFrame + 4));
        }
      } catch (error) {
        assert.ok(error instanceof FrameError, String(error));
      }
    }),
    bound,
  );
});

test('a claimed length costs no memory before its bytes come', () => {
  const parser = new FrameParser();
  assert.deepEqual([...parser.push(hex('00011000 83'))], []);
  assert.equal(parser.held, 5);
});
