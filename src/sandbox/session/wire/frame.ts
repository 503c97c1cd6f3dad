import type { ListeningPort } from '../../ports/workspace.ts';
import type { ClosedHow } from './dialled.ts';

/** Bytes of a frame after its length field: 64 KiB of data and 4 KiB for the rest. */
export const maxFrame = 69_632;
/** Bytes of data in one frame. */
export const maxData = 65_536;
export const protocolVersion = 1;
/** The level from which a host knows CARRY and GIVE. */
export const carryLevel = 1;
/** The level from which a host makes connections and lists ports. */
export const dialLevel = 2;
/** Bytes of the longest snapshot of a shell that one host gives and another takes. */
export const maxSnapshot = 1_052_678;

export type Stream = 0 | 1;

/** The host sent what the protocol forbids. The connection is not to be used any more. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

/** A channel of the host as the greeting lists it. `oldest` and `end` are offsets of streams 0 and 1. */
export interface ChannelState {
  readonly channel: number;
  readonly kind: 'command' | 'terminal';
  readonly ended: boolean;
  readonly streams: readonly [StreamState, StreamState];
}

export interface StreamState {
  readonly oldest: number;
  readonly end: number;
  readonly eof: boolean;
}

export type DoneHow = 'reported' | 'shell_died' | 'not_run' | 'terminal_ended';
export type HostErrorCode = 'busy' | 'unknown_channel' | 'too_large' | 'no_resources' | 'could_not_start' | 'malformed';

/** A frame from the host. `data` holds a piece of a DATA frame: a long frame arrives in several pieces. */
export type HostFrame =
  | {
      readonly type: 'welcome';
      readonly version: number;
      readonly boot: bigint;
      readonly highest: number;
      /** What the host knows besides its version; 0 where it does not say. */
      readonly level: number;
    }
  | ({ readonly type: 'channel' } & ChannelState)
  | {
      readonly type: 'shell';
      readonly generation: number;
      readonly pid: number;
      readonly running: number;
      readonly cwd: string;
    }
  | { readonly type: 'ready' }
  | {
      readonly type: 'data';
      readonly channel: number;
      readonly stream: Stream;
      readonly offset: number;
      /** A view of the received chunk: copy what has to outlive the call. */
      readonly bytes: Uint8Array;
    }
  | { readonly type: 'eof'; readonly channel: number; readonly stream: Stream; readonly end: number }
  | {
      readonly type: 'done';
      readonly channel: number;
      readonly how: DoneHow;
      readonly code: number;
      readonly ends: readonly [number, number];
      readonly jobs: number;
      readonly cwd: string;
    }
  | { readonly type: 'input_done'; readonly channel: number; readonly total: number }
  | { readonly type: 'error'; readonly channel: number; readonly code: HostErrorCode; readonly text: string }
  | { readonly type: 'pong'; readonly cookie: bigint; readonly processes: number; readonly terminals: number }
  | {
      readonly type: 'snapshot';
      readonly cookie: bigint;
      readonly total: number;
      /** A view of the received chunk. */
      readonly bytes: Uint8Array;
    }
  | DialFrame;

/** A frame of a connection to a program in the sandbox, or of the list of those that listen. */
export type DialFrame =
  | { readonly type: 'dialed'; readonly channel: number }
  | { readonly type: 'room'; readonly channel: number; readonly limit: number }
  | { readonly type: 'closed'; readonly channel: number; readonly how: ClosedHow; readonly text: string }
  | { readonly type: 'listening'; readonly cookie: bigint; readonly ports: readonly ListeningPort[] };

const kinds = { 1: 'command', 2: 'terminal' } as const;
const hows = { 0: 'reported', 1: 'shell_died', 2: 'not_run', 3: 'terminal_ended' } as const;
const closings = { 0: 'ended', 1: 'refused', 2: 'reset', 3: 'failed' } as const;
const errors = {
  1: 'busy',
  2: 'unknown_channel',
  3: 'too_large',
  4: 'no_resources',
  5: 'could_not_start',
  6: 'malformed',
} as const;

const dataType = 0x85;
const dataHead = 14;
const decoder = new TextDecoder();

/** Reads fields off a frame's body; reading past its end is a `FrameError`. */
class Fields {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  #take(size: number): number {
    const at = this.#at;
    if (at + size > this.#bytes.length) throw new FrameError('a frame is shorter than its fields');
    this.#at += size;
    return at;
  }

  get isOver(): boolean {
    return this.#at === this.#bytes.length;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  u16(): number {
    return this.#bytes.readUInt16BE(this.#take(2));
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  i32(): number {
    return this.#bytes.readInt32BE(this.#take(4));
  }

  bits64(): bigint {
    return this.#bytes.readBigUInt64BE(this.#take(8));
  }

  /** A 64-bit count that fits a number. */
  u64(): number {
    const at = this.#take(8);
    const high = this.#bytes.readUInt32BE(at);
    if (high > 0x1f_ffff) throw new FrameError('a frame holds an offset beyond 2^53');
    return high * 0x1_0000_0000 + this.#bytes.readUInt32BE(at + 4);
  }

  flag(): boolean {
    return this.u8() !== 0;
  }

  stream(): Stream {
    return this.choice({ 0: 0, 1: 1 } as const, 'stream');
  }

  choice<T>(table: Readonly<Record<number, T>>, what: string): T {
    const value = this.u8();
    const chosen = table[value];
    if (chosen === undefined) throw new FrameError(`a frame holds the unknown ${what} ${value}`);
    return chosen;
  }

  string(): string {
    const end = this.#bytes.indexOf(0, this.#at);
    if (end < 0) throw new FrameError('a frame holds a string without an end');
    const text = decoder.decode(this.#bytes.subarray(this.#at, end));
    this.#at = end + 1;
    return text;
  }

  rest(): Uint8Array {
    return this.#bytes.subarray(this.#take(this.#bytes.length - this.#at));
  }
}

function streamState(fields: Fields): StreamState {
  const state = { oldest: fields.u64(), end: fields.u64(), eof: fields.flag() };
  if (state.oldest > state.end) throw new FrameError('a stream begins behind its end');
  return state;
}

function snapshotPart(fields: Fields): HostFrame {
  const [cookie, total, bytes] = [fields.bits64(), fields.u32(), fields.rest()];
  if (total > maxSnapshot) throw new FrameError(`a snapshot claims ${total} bytes; it may have ${maxSnapshot}`);
  if (bytes.length > total) throw new FrameError('a part of a snapshot is longer than the whole');
  if (bytes.length === 0 && total > 0) throw new FrameError('a part of a snapshot is empty');
  return { type: 'snapshot', cookie, total, bytes };
}

function listeningPorts(fields: Fields): ListeningPort[] {
  const count = fields.u16();
  if (count > maxPorts) throw new FrameError(`the host lists ${count} ports; it may list ${maxPorts}`);
  return Array.from({ length: count }, () => {
    const [port, where, pid, age, program] = [fields.u16(), fields.u8(), fields.u32(), fields.u32(), fields.string()];
    return { port, loopback: (where & 4) === 0, pid, age, program: program.replace(/[^\x20-\x7e]/g, '?').slice(0, 16) };
  });
}

const maxPorts = 128;

const decoders: Readonly<Record<number, (fields: Fields) => HostFrame>> = {
  0x81: (f) => ({ type: 'welcome', version: f.u8(), boot: f.bits64(), highest: f.u32(), level: f.isOver ? 0 : f.u8() }),
  0x82: (f) => ({
    type: 'channel',
    channel: f.u32(),
    kind: f.choice(kinds, 'channel kind'),
    ended: f.flag(),
    streams: [streamState(f), streamState(f)],
  }),
  0x83: (f) => ({ type: 'shell', generation: f.u32(), pid: f.u32(), running: f.u32(), cwd: f.string() }),
  0x84: () => ({ type: 'ready' }),
  0x86: (f) => ({ type: 'eof', channel: f.u32(), stream: f.stream(), end: f.u64() }),
  0x87: (f) => ({
    type: 'done',
    channel: f.u32(),
    how: f.choice(hows, 'kind of end'),
    code: f.i32(),
    ends: [f.u64(), f.u64()],
    jobs: f.u16(),
    cwd: f.string(),
  }),
  0x88: (f) => ({ type: 'input_done', channel: f.u32(), total: f.u64() }),
  0x89: (f) => ({ type: 'error', channel: f.u32(), code: f.choice(errors, 'error code'), text: f.string() }),
  0x8a: (f) => ({ type: 'pong', cookie: f.bits64(), processes: f.u32(), terminals: f.u32() }),
  0x8b: snapshotPart,
  0x8c: (f) => ({ type: 'dialed', channel: f.u32() }),
  0x8d: (f) => ({ type: 'room', channel: f.u32(), limit: f.u64() }),
  0x8e: (f) => ({ type: 'closed', channel: f.u32(), how: f.choice(closings, 'kind of closing'), text: f.string() }),
  0x8f: (f) => ({ type: 'listening', cookie: f.bits64(), ports: listeningPorts(f) }),
};

/** The rest of a DATA frame whose head has been read. */
interface OpenData {
  readonly channel: number;
  readonly stream: Stream;
  offset: number;
  left: number;
}

/**
 * Cuts a byte stream into the host's frames as it arrives. Data is passed on as views of the chunks; besides that it
 * holds at most one incomplete frame that carries no data. Throws `FrameError`, and nothing else, at what the protocol
 * forbids; it must not be used after that.
 */
export class FrameParser {
  /** Bytes of an incomplete frame; grows with what really came, so a claimed length costs nothing. */
  #held = Buffer.alloc(0);
  #data: OpenData | undefined;

  /** Bytes held back until the rest of their frame comes. */
  get held(): number {
    return this.#held.length;
  }

  *push(chunk: Uint8Array): Generator<HostFrame, void, undefined> {
    let rest = this.#joined(chunk);
    for (;;) {
      if (this.#data) {
        if (rest.length === 0) return;
        const piece = rest.subarray(0, this.#data.left);
        rest = rest.subarray(piece.length);
        yield this.#piece(this.#data, piece);
        continue;
      }
      const size = frameSize(rest);
      if (size === undefined) break;
      if (rest.readUInt8(4) === dataType) {
        if (rest.length < 4 + dataHead) break;
        this.#data = openData(rest, size);
        rest = rest.subarray(4 + dataHead);
        continue;
      }
      if (rest.length < 4 + size) break;
      const frame = rest.subarray(4, 4 + size);
      rest = rest.subarray(4 + size);
      yield decodeFrame(frame);
    }
    // A copy: a view would keep the whole chunk alive.
    this.#held = Buffer.from(rest);
  }

  #joined(chunk: Uint8Array): Buffer {
    const view = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    if (this.#held.length === 0) return view;
    const joined = Buffer.concat([this.#held, view]);
    this.#held = Buffer.alloc(0);
    return joined;
  }

  #piece(data: OpenData, bytes: Uint8Array): HostFrame {
    const frame = { type: 'data', channel: data.channel, stream: data.stream, offset: data.offset, bytes } as const;
    data.offset += bytes.length;
    data.left -= bytes.length;
    if (data.left === 0) this.#data = undefined;
    return frame;
  }
}

/** The checked length of the frame that begins here; undefined while it or the type is still to come. */
function frameSize(bytes: Buffer): number | undefined {
  if (bytes.length < 4) return undefined;
  const size = bytes.readUInt32BE(0);
  if (size < 1 || size > maxFrame) throw new FrameError(`a frame claims ${size} bytes; it may have 1 to ${maxFrame}`);
  if (bytes.length < 5) return undefined;
  const type = bytes.readUInt8(4);
  if (type !== dataType && !(type in decoders)) throw new FrameError(`a frame has the unknown type ${type}`);
  return size;
}

function openData(bytes: Buffer, size: number): OpenData {
  const left = size - dataHead;
  if (left < 1 || left > maxData)
    throw new FrameError(`a frame claims ${left} bytes of data; it may have 1 to ${maxData}`);
  const fields = new Fields(bytes.subarray(5, 4 + dataHead));
  return { channel: fields.u32(), stream: fields.stream(), offset: fields.u64(), left };
}

function decodeFrame(bytes: Buffer): HostFrame {
  const decode = decoders[bytes.readUInt8(0)];
  if (!decode) throw new FrameError('a frame has an unknown type');
  return decode(new Fields(bytes.subarray(1)));
}
