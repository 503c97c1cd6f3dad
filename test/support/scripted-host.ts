import { EventEmitter, once } from 'node:events';
import type { Container, ContainerState, Process } from '../../src/sandbox/ports/runtime.ts';
import { AppError } from '../../src/errors.ts';

/** A request from the server, taken apart as far as tests look at it. */
export interface Request {
  readonly type: number;
  readonly channel: number;
  readonly body: Buffer;
}

const types = {
  hello: 1,
  run: 2,
  text: 3,
  open: 4,
  input: 5,
  resize: 6,
  signal: 7,
  credit: 8,
  forget: 9,
  reset: 10,
  ping: 11,
  follow: 12,
  carry: 13,
  give: 14,
};
export type RequestName = keyof typeof types;

/** A container whose session host says what a test makes it say. */
export class ScriptedHost implements Container {
  readonly id = 'scripted';
  readonly name = 'scripted';
  boot = 0x1234n;
  highest = 0;
  /** What WELCOME says that the host knows; undefined: as a host says it that knows nothing of levels. */
  level: number | undefined = 1;
  generation = 1;
  running = 0;
  /** CHANNEL bodies of the next greeting. */
  channels: Buffer[] = [];
  readonly requests: Request[] = [];
  readonly #arrived = new EventEmitter();
  #process: ScriptedProcess | undefined;
  isRunning = true;
  attaches = 0;
  /** False: the host takes requests and never answers a HELLO. */
  greets = true;
  /** False: PINGs stay without an answer. */
  pongs = true;

  async exec(): Promise<Process> {
    if (!this.isRunning) throw new AppError('sandbox_lost', 'The sandbox is gone.');
    this.attaches += 1;
    this.#process = new ScriptedProcess((bytes) => this.#receive(bytes));
    return this.#process;
  }

  async state(): Promise<ContainerState> {
    return { running: this.isRunning, paused: false, exitCode: this.isRunning ? null : 137, oomKilled: false };
  }

  usage(): Promise<never> {
    throw new Error('not scripted');
  }

  async pause(): Promise<void> {}
  async resume(): Promise<void> {}

  stop(): Promise<void> {
    return this.remove();
  }

  async remove(): Promise<void> {
    this.isRunning = false;
    this.cut();
  }

  /** Breaks the connection as a dying engine would. */
  cut(): void {
    this.#process?.end();
  }

  say(type: number, ...fields: (Buffer | string)[]): void {
    const body = Buffer.concat(fields.map((field) => Buffer.from(field)));
    this.#process?.emit(Buffer.concat([u32(body.length + 1), u8(type), body]));
  }

  data(channel: number, stream: number, offset: number, text: string | Buffer): void {
    this.say(0x85, u32(channel), u8(stream), u64(offset), text);
  }

  eof(channel: number, stream: number, end: number): void {
    this.say(0x86, u32(channel), u8(stream), u64(end));
  }

  done(channel: number, how: number, code: number, ends: [number, number], cwd = '/workspace'): void {
    this.say(0x87, u32(channel), u8(how), u32(code), u64(ends[0]), u64(ends[1]), u16(0), `${cwd}\0`);
  }

  shell(cwd = '/workspace'): void {
    this.say(0x83, u32(this.generation), u32(7), u32(this.running), `${cwd}\0`);
  }

  /** A part of the answer to a CARRY. */
  snapshot(carry: Request, total: number, bytes: string | Buffer): void {
    this.say(0x8b, carry.body.subarray(0, 8), u32(total), bytes);
  }

  /** A whole command: its output, and its end. */
  answer(channel: number, out: string, code = 0): void {
    if (out) this.data(channel, 0, 0, out);
    this.done(channel, 0, code, [Buffer.byteLength(out), 0]);
    this.eof(channel, 0, Buffer.byteLength(out));
    this.eof(channel, 1, 0);
  }

  /** The next request of a kind, or the first one that came and was not waited for. */
  async next(name: RequestName): Promise<Request> {
    for (;;) {
      const index = this.requests.findIndex((request) => request.type === types[name]);
      const [found] = index < 0 ? [] : this.requests.splice(index, 1);
      if (found) return found;
      await once(this.#arrived, 'request');
    }
  }

  #receive(bytes: Buffer): void {
    for (let at = 0; at < bytes.length;) {
      const size = bytes.readUInt32BE(at);
      const frame = bytes.subarray(at + 4, at + 4 + size);
      at += 4 + size;
      const body = frame.subarray(1);
      this.requests.push({ type: frame.readUInt8(0), channel: body.length >= 4 ? body.readUInt32BE(0) : 0, body });
      if (frame[0] === types.hello && this.greets) this.#greet();
      if (frame[0] === types.ping && this.pongs) this.say(0x8a, body, u32(3), u32(1));
      this.#arrived.emit('request');
    }
  }

  #greet(): void {
    this.say(0x81, u8(1), u64(this.boot), u32(this.highest), ...(this.level === undefined ? [] : [u8(this.level)]));
    for (const channel of this.channels) this.say(0x82, channel);
    this.shell();
    this.say(0x84);
  }
}

class ScriptedProcess implements Process {
  readonly stdin: WritableStream<Uint8Array>;
  readonly stdout: ReadableStream<Uint8Array>;
  readonly stderr = new ReadableStream<Uint8Array>({ start: (controller) => controller.close() });
  #out: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor(receive: (bytes: Buffer) => void) {
    this.stdin = new WritableStream({ write: (bytes) => receive(Buffer.from(bytes)) });
    this.stdout = new ReadableStream({ start: (controller) => void (this.#out = controller) });
  }

  emit(bytes: Buffer): void {
    this.#out?.enqueue(bytes);
  }

  end(): void {
    const out = this.#out;
    this.#out = undefined;
    out?.close();
  }

  async wait(): Promise<number> {
    return 0;
  }

  async resize(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {
    this.end();
  }
}

export function u8(value: number): Buffer {
  return Buffer.from([value]);
}

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function u64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

/** The body of a CHANNEL frame. Each stream: oldest, end, at its end. */
export function channelBody(
  channel: number,
  kind: 1 | 2,
  ended: boolean,
  streams: readonly [[number, number, boolean], [number, number, boolean]],
): Buffer {
  const fields = streams.flatMap(([oldest, end, eof]) => [u64(oldest), u64(end), u8(Number(eof))]);
  return Buffer.concat([u32(channel), u8(kind), u8(Number(ended)), ...fields]);
}
