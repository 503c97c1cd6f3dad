import { AppError } from '../../../errors.ts';
import type { LiveFrame } from '../wire/host-link.ts';
import type { SignalName, SignalScope } from '../wire/request.ts';
import type { Container, Process } from '../../ports/runtime.ts';
import { strike } from './kill.ts';
import { Outflow } from './outflow.ts';
import type { HostRequest } from './requests.ts';

type Open = Extract<HostRequest, { type: 'open' }>;

/** Says in its first line the pid of what follows, or behind a `!` why nothing does. */
const script = `
cd -- "$1" 2>/dev/null || { echo '!it is no directory to work in'; exit 1; }
shell=$2; shift 2
[ $# -gt 0 ] || set -- "$shell"
if [ "$1" = "$shell" ] && [ ! -x "$shell" ]; then shift; set -- /bin/sh "$@"; fi
command -v "$1" >/dev/null || { echo "!$1: not found"; exit 127; }
echo $$; exec "$@"`;
const longestFirstLine = 4096;

/** A terminal as an exec with a TTY. Its processes are ended by signals alone, as the engine can end no exec. */
export class Tty {
  readonly #container: Container;
  readonly #process: Process;
  readonly #channel: number;
  readonly #emit: (frame: LiveFrame) => void;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #out: Outflow;
  readonly #pid = Promise.withResolvers<number>();
  #written = 0;
  /** Settles with the terminal's end. */
  readonly ended: Promise<void>;

  private constructor(container: Container, process: Process, open: Open, emit: (frame: LiveFrame) => void) {
    const { channel, window } = open;
    this.#container = container;
    this.#process = process;
    this.#channel = channel;
    this.#emit = emit;
    this.#writer = process.stdin.getWriter();
    this.#writer.closed.catch(() => {});
    this.#pid.promise.catch(() => {});
    this.#out = new Outflow(window, (offset, bytes) => emit({ type: 'data', channel, stream: 0, offset, bytes }));
    this.ended = this.#pump();
  }

  /** Rejects with the reason as the message where the program does not start. */
  static async start(container: Container, open: Open, shell: string, emit: (frame: LiveFrame) => void): Promise<Tty> {
    const argv = ['/bin/sh', '-c', script, 'sh', open.cwd, shell, ...open.argv];
    const process = await container.exec(argv, { cwd: '/', env: open.env, tty: { rows: open.rows, cols: open.cols } });
    const tty = new Tty(container, process, open, emit);
    await tty.#pid.promise;
    return tty;
  }

  credit(limit: number): void {
    this.#out.credit(limit);
  }

  async input(bytes: Uint8Array): Promise<void> {
    await this.#writer.write(Buffer.from(bytes));
    this.#written += bytes.length;
    this.#emit({ type: 'input_done', channel: this.#channel, total: this.#written });
  }

  async resize(rows: number, cols: number): Promise<void> {
    await this.#process.resize(rows, cols);
  }

  async signal(signals: readonly { name: SignalName; scope: SignalScope }[]): Promise<void> {
    const strikes = signals.flatMap(({ name, scope }) => {
      const self = { name, scope: 'self' } as const;
      return scope === 'first' ? [self] : [{ name, scope: 'below' } as const, self];
    });
    await strike(this.#container, { pid: await this.#pid.promise }, strikes);
  }

  /** Nobody wants its output any more. */
  forget(): void {
    this.#out.close();
  }

  async #pump(): Promise<void> {
    let head: Buffer | undefined = Buffer.alloc(0);
    try {
      for await (const chunk of this.#process.stdout) {
        if (!head) await this.#out.write(chunk);
        else {
          head = Buffer.concat([head, chunk]);
          const end: number = head.indexOf(0x0a);
          if (end < 0 && head.length < longestFirstLine) continue;
          this.#firstLine(head.toString('utf8', 0, Math.max(0, end)).trim());
          await this.#out.write(head.subarray(end + 1));
          head = undefined;
        }
      }
      const code = await this.#process.wait();
      this.#pid.reject(new AppError('unsupported', 'the image has no shell that starts'));
      const [channel, end] = [this.#channel, this.#out.sent];
      this.#emit({ type: 'done', channel, how: 'terminal_ended', code, ends: [end, 0], jobs: 0, cwd: '' });
      this.#emit({ type: 'eof', channel, stream: 0, end });
    } catch (error) {
      this.#pid.reject(error);
    }
  }

  #firstLine(line: string): void {
    if (/^\d+$/.test(line)) return this.#pid.resolve(Number(line));
    this.#pid.reject(new AppError('invalid_argument', line.replace(/^!/, '')));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}
