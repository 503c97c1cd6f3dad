import { scopes, signals, type SignalName, type SignalScope } from '../wire/request.ts';

/** What the server asks of a session host, read back from its frames (see the protocol). */
export type HostRequest =
  | {
      readonly type: 'run';
      readonly channel: number;
      readonly status: number;
      readonly window: number;
      readonly total: number;
      readonly text: Buffer;
    }
  | { readonly type: 'text'; readonly channel: number; readonly text: Buffer }
  | {
      readonly type: 'open';
      readonly channel: number;
      readonly rows: number;
      readonly cols: number;
      readonly window: number;
      readonly cwd: string;
      readonly argv: readonly string[];
      readonly env: Readonly<Record<string, string>>;
    }
  | { readonly type: 'input'; readonly channel: number; readonly bytes: Buffer }
  | { readonly type: 'resize'; readonly channel: number; readonly rows: number; readonly cols: number }
  | { readonly type: 'signal'; readonly channel: number; readonly name: SignalName; readonly scope: SignalScope }
  | { readonly type: 'credit'; readonly channel: number; readonly stream: 0 | 1; readonly limit: number }
  | { readonly type: 'forget'; readonly channel: number }
  | { readonly type: 'reset' };

const names = byNumber<SignalName>(signals);
const scopeNames = byNumber<SignalScope>(scopes);

/** Reads one frame. The server itself wrote it: one of another type has no meaning here. */
export function readRequest(frame: Uint8Array): HostRequest | undefined {
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
  const type = bytes.readUInt8(4);
  if (type === 0x0a) return { type: 'reset' };
  const read = readers[type];
  return read?.(bytes.readUInt32BE(5), bytes.subarray(9));
}

const readers: Readonly<Record<number, (channel: number, body: Buffer) => HostRequest | undefined>> = {
  0x02: (channel, body) => ({
    type: 'run',
    channel,
    status: body.readUInt8(0),
    window: body.readUInt32BE(1),
    total: body.readUInt32BE(5),
    text: body.subarray(9),
  }),
  0x03: (channel, text) => ({ type: 'text', channel, text }),
  0x04: (channel, body) => ({ type: 'open', channel, ...readOpen(body) }),
  0x05: (channel, bytes) => ({ type: 'input', channel, bytes }),
  0x06: (channel, body) => ({ type: 'resize', channel, rows: body.readUInt16BE(0), cols: body.readUInt16BE(2) }),
  0x07: (channel, body) => {
    const name = names.get(body.readUInt8(0));
    const scope = scopeNames.get(body.readUInt8(1));
    return name && scope && { type: 'signal', channel, name, scope };
  },
  0x08: (channel, body) => ({
    type: 'credit',
    channel,
    stream: body.readUInt8(0) === 0 ? 0 : 1,
    limit: Number(body.readBigUInt64BE(1)),
  }),
  0x09: (channel) => ({ type: 'forget', channel }),
};

function readOpen(body: Buffer) {
  const [cwd = '', ...strings] = body.subarray(12, -1).toString().split('\0');
  const argv = strings.slice(0, strings.indexOf(''));
  const env = strings.slice(argv.length + 1).map((pair) => pair.split(/=(.*)/s, 2) as [string, string]);
  const [rows, cols, window] = [body.readUInt16BE(0), body.readUInt16BE(2), body.readUInt32BE(4)];
  return { rows, cols, window, cwd, argv, env: Object.fromEntries(env) };
}

function byNumber<Name extends string>(table: Readonly<Record<Name, number>>): ReadonlyMap<number, Name> {
  return new Map((Object.keys(table) as Name[]).map((name) => [table[name], name]));
}
