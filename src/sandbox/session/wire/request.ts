import { maxData, protocolVersion, type Stream } from './frame.ts';

/** Whom a signal reaches; see SIGNAL in the protocol. */
export const scopes = { first: 0, foreground: 1, tree: 2 } as const;
export type SignalScope = keyof typeof scopes;

export const signals = { HUP: 1, INT: 2, QUIT: 3, KILL: 9, TERM: 15 } as const;
export type SignalName = keyof typeof signals;

/** A frame: its length, its type, `size` bytes for the fields, and room for `extra` bytes behind them. */
function frame(type: number, size: number, extra = 0): Buffer {
  const bytes = Buffer.allocUnsafe(5 + size + extra);
  bytes.writeUInt32BE(1 + size + extra, 0);
  bytes.writeUInt8(type, 4);
  return bytes;
}

function writeU64(bytes: Buffer, value: number, at: number): void {
  bytes.writeBigUInt64BE(BigInt(value), at);
}

/** The first frame: `token` has 32 bytes. */
export function hello(token: Uint8Array): Buffer {
  const bytes = frame(0x01, 1, 32);
  bytes.writeUInt8(protocolVersion, 5);
  bytes.set(token, 6);
  return bytes;
}

/** A command as RUN and as many TEXTs as its text needs. `status` is what `$?` shall be at its start. */
export function run(channel: number, status: number, window: number, text: Uint8Array): Buffer[] {
  const first = text.subarray(0, maxData);
  const head = frame(0x02, 13, first.length);
  head.writeUInt32BE(channel, 5);
  head.writeUInt8(status & 0xff, 9);
  head.writeUInt32BE(window, 10);
  head.writeUInt32BE(text.length, 14);
  head.set(first, 18);
  const frames = [head];
  for (let at = first.length; at < text.length; at += maxData) {
    frames.push(withBytes(0x03, channel, text.subarray(at, at + maxData)));
  }
  return frames;
}

function withBytes(type: number, channel: number, bytes: Uint8Array): Buffer {
  const out = frame(type, 4, bytes.length);
  out.writeUInt32BE(channel, 5);
  out.set(bytes, 9);
  return out;
}

export interface OpenTerminal {
  readonly rows: number;
  readonly cols: number;
  readonly window: number;
  /** Bytes the host keeps for a server that comes back. */
  readonly ring: number;
  readonly cwd: string;
  readonly argv: readonly string[];
  readonly env: readonly string[];
}

export function open(channel: number, options: OpenTerminal): Buffer {
  const strings = Buffer.from(`${[options.cwd, ...options.argv, '', ...options.env].join('\0')}\0`);
  const bytes = frame(0x04, 16, strings.length);
  bytes.writeUInt32BE(channel, 5);
  bytes.writeUInt16BE(options.rows, 9);
  bytes.writeUInt16BE(options.cols, 11);
  bytes.writeUInt32BE(options.window, 13);
  bytes.writeUInt32BE(options.ring, 17);
  bytes.set(strings, 21);
  return bytes;
}

/** At most `maxData` bytes for a terminal. */
export function input(channel: number, bytes: Uint8Array): Buffer {
  return withBytes(0x05, channel, bytes);
}

export function resize(channel: number, rows: number, cols: number): Buffer {
  const bytes = frame(0x06, 8);
  bytes.writeUInt32BE(channel, 5);
  bytes.writeUInt16BE(rows, 9);
  bytes.writeUInt16BE(cols, 11);
  return bytes;
}

export function signal(channel: number, name: SignalName, scope: SignalScope): Buffer {
  const bytes = frame(0x07, 6);
  bytes.writeUInt32BE(channel, 5);
  bytes.writeUInt8(signals[name], 9);
  bytes.writeUInt8(scopes[scope], 10);
  return bytes;
}

/** Lets the host send up to offset `limit`. */
export function credit(channel: number, stream: Stream, limit: number): Buffer {
  const bytes = frame(0x08, 13);
  bytes.writeUInt32BE(channel, 5);
  bytes.writeUInt8(stream, 9);
  writeU64(bytes, limit, 10);
  return bytes;
}

export function forget(channel: number): Buffer {
  const bytes = frame(0x09, 4);
  bytes.writeUInt32BE(channel, 5);
  return bytes;
}

export function reset(keep: boolean): Buffer {
  const bytes = frame(0x0a, 1);
  bytes.writeUInt8(keep ? 1 : 0, 5);
  return bytes;
}

export function ping(cookie: bigint): Buffer {
  const bytes = frame(0x0b, 8);
  bytes.writeBigUInt64BE(cookie, 5);
  return bytes;
}

export function follow(channel: number, stream: Stream, from: number, limit: number): Buffer {
  const bytes = frame(0x0c, 21);
  bytes.writeUInt32BE(channel, 5);
  bytes.writeUInt8(stream, 9);
  writeU64(bytes, from, 10);
  writeU64(bytes, limit, 18);
  return bytes;
}

/** Asks for the idle shell's snapshot. */
export function carry(cookie: bigint): Buffer {
  const bytes = frame(0x0d, 8);
  bytes.writeBigUInt64BE(cookie, 5);
  return bytes;
}

/** A snapshot, which may not be empty, for a shell that has run nothing. */
export function give(snapshot: Uint8Array): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < snapshot.length; at += maxData) {
    const part = snapshot.subarray(at, at + maxData);
    const bytes = frame(0x0e, 4, part.length);
    bytes.writeUInt32BE(snapshot.length, 5);
    bytes.set(part, 9);
    frames.push(bytes);
  }
  return frames;
}

/** A connection to a port of the loopback, or to a unix socket by its absolute path. */
export function dial(channel: number, target: number | string, window: number): Buffer {
  const [port, path] = typeof target === 'number' ? [target, ''] : [0, target];
  const string = Buffer.from(`${path}\0`);
  const bytes = frame(0x0f, 11, string.length);
  bytes.writeUInt32BE(channel, 5);
  bytes.writeUInt8(typeof target === 'number' ? families.either : families.path, 9);
  bytes.writeUInt16BE(port, 10);
  bytes.writeUInt32BE(window, 12);
  bytes.set(string, 16);
  return bytes;
}

const families = { either: 0, path: 3 } as const;

/** At most `maxData` bytes for a connection. */
export function sendOn(channel: number, bytes: Uint8Array): Buffer {
  return withBytes(0x10, channel, bytes);
}

/** Nothing more will be sent on a connection. */
export function finish(channel: number): Buffer {
  return withBytes(0x11, channel, new Uint8Array());
}

/** Resets a connection. */
export function cut(channel: number): Buffer {
  return withBytes(0x12, channel, new Uint8Array());
}

/** Asks what listens; `watch` as the protocol has it. */
export function ports(cookie: bigint, watch: number): Buffer {
  const bytes = frame(0x13, 9);
  bytes.writeBigUInt64BE(cookie, 5);
  bytes.writeUInt8(watch, 13);
  return bytes;
}
