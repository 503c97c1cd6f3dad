import { callContext } from '../../call-context.ts';
import { intercept } from '../intercept.ts';
import { afterEnd } from '../../session/shell/command-end.ts';
import {
  isOpen,
  type CommandResult,
  type ShellPort,
  type TerminalInfo,
  type TerminalsPort,
  type TerminalWatch,
  type Workspace,
} from '../../ports/workspace.ts';
import type { CastFile } from './cast-file.ts';
import type { Recorder } from './recorder.ts';
import { Redactor } from './redactor.ts';
import { detached } from '../../../lib/detached.ts';

export interface RecordedOptions {
  readonly recorder: Recorder;
  /** Seconds for which a command may be waited for at a time. */
  readonly longestWait: number;
}

/** The workspace with its commands and terminals recorded, without the secrets of those who call. */
export function recorded(workspace: Workspace, options: RecordedOptions): Workspace {
  return intercept(workspace, {
    shell: { run: recordedRun(workspace, options) },
    terminals: recordedTerminals(workspace, options.recorder),
  });
}

/** A command's output as a terminal of this size would show it. */
const commandSize = { width: 120, height: 30 };

function recordedRun({ handle, shell }: Workspace, { recorder, longestWait }: RecordedOptions): ShellPort['run'] {
  return async (command, options = {}) => {
    const tape = new CommandTape(recorder, handle, command);
    const onOutput = (stream: 'stdout' | 'stderr', bytes: Uint8Array) => {
      tape.output(stream, bytes);
      options.onOutput?.(stream, bytes);
    };
    try {
      const result = await shell.run(command, { ...options, onOutput });
      const ended = isOpen(result.status) ? afterEnd(shell, result.commandId, longestWait) : undefined;
      if (ended) detached(ended.then((page) => tape.end(page, 'its end was not seen')));
      else tape.end(result, '');
      return result;
    } catch (error) {
      tape.end(undefined, 'it did not run');
      throw error;
    }
  };
}

class CommandTape {
  readonly #recorder: Recorder;
  readonly #cast: CastFile;
  readonly #streams: Record<'stdout' | 'stderr', { decoder: TextDecoder; redactor: Redactor }>;

  constructor(recorder: Recorder, handle: string, command: string) {
    this.#recorder = recorder;
    this.#streams = { stdout: newStream(), stderr: newStream() };
    const shown = cleaned(command);
    this.#cast = recorder.begin(handle, 'command', { ...commandSize, command: shown, title: handle });
    this.#cast.event('o', `$ ${lines(shown)}\r\n`);
  }

  output(name: 'stdout' | 'stderr', bytes: Uint8Array): void {
    const { decoder, redactor } = this.#streams[name];
    this.#cast.event('o', lines(redactor.push(decoder.decode(bytes, { stream: true }))));
  }

  /** `otherwise` marks the end where there is no result. */
  end(result: Pick<CommandResult, 'status' | 'exitCode'> | undefined, otherwise: string): void {
    for (const { decoder, redactor } of Object.values(this.#streams))
      this.#cast.event('o', lines(redactor.push(decoder.decode()) + redactor.end()));
    const code = result?.exitCode ?? 'without a code';
    detached(this.#recorder.end(this.#cast, result ? `${result.status}, exit ${code}` : otherwise));
  }
}

function newStream() {
  const redactor = new Redactor();
  redactor.add(callContext()?.secrets ?? []);
  return { decoder: new TextDecoder(), redactor };
}

function cleaned(text: string): string {
  const redactor = new Redactor();
  redactor.add(callContext()?.secrets ?? []);
  return redactor.push(text) + redactor.end();
}

/** A pipe's lines as a terminal takes them. */
const lines = (text: string): string => text.replace(/\r?\n/g, '\r\n');

function recordedTerminals({ handle, terminals }: Workspace, recorder: Recorder): Partial<TerminalsPort> {
  const tapes = new Map<string, TerminalTape>();
  const record = (info: TerminalInfo): void => {
    if (info.exited || tapes.has(info.sessionId)) return;
    const tape = new TerminalTape(recorder, handle, info);
    tapes.set(info.sessionId, tape);
    detached(tape.run(terminals).finally(() => tapes.delete(info.sessionId)));
  };
  // Those that an earlier server opened go on in a recording of their own.
  detached(
    terminals.list().then(
      (open) => open.forEach(record),
      () => {},
    ),
  );
  const resized = (id: string, cols: number, rows: number) => tapes.get(id)?.resized(cols, rows);
  return {
    async start(options) {
      const info = await terminals.start(options);
      record(info);
      return info;
    },
    async send(id, input) {
      tapes.get(id)?.heard();
      return await terminals.send(id, input);
    },
    async resize(id, cols, rows) {
      await terminals.resize(id, cols, rows);
      resized(id, cols, rows);
    },
    async watch(id, signal, options) {
      tapes.get(id)?.heard();
      const watch = await terminals.watch(id, signal, options);
      return followed(watch, (cols, rows) => resized(id, cols, rows));
    },
  };
}

function followed(watch: TerminalWatch, resized: (cols: number, rows: number) => void): TerminalWatch {
  return {
    info: watch.info,
    output: watch.output,
    write: (bytes) => watch.write(bytes),
    async resize(cols, rows) {
      await watch.resize(cols, rows);
      resized(cols, rows);
    },
    exited: watch.exited,
  };
}

class TerminalTape {
  readonly #recorder: Recorder;
  readonly #cast: CastFile;
  readonly #id: string;
  readonly #redactor = new Redactor();

  constructor(recorder: Recorder, handle: string, info: TerminalInfo) {
    this.#recorder = recorder;
    this.#id = info.sessionId;
    this.heard();
    const { cols: width, rows: height, command } = info;
    this.#cast = recorder.begin(handle, 'terminal', { width, height, command: cleaned(command), title: handle });
  }

  /** Somebody calls: his secrets may show. */
  heard(): void {
    this.#redactor.add(callContext()?.secrets ?? []);
  }

  resized(cols: number, rows: number): void {
    this.#cast.event('r', `${cols}x${rows}`);
  }

  /** Until the terminal ends. Never rejects. */
  async run(terminals: TerminalsPort): Promise<void> {
    let mark = 'the terminal was lost';
    try {
      const decoder = new TextDecoder();
      const watch = await terminals.watch(this.#id, this.#recorder.closing, { uncounted: true });
      for await (const bytes of watch.output)
        this.#cast.event('o', this.#redactor.push(decoder.decode(bytes, { stream: true })));
      this.#cast.event('o', this.#redactor.push(decoder.decode()) + this.#redactor.end());
      if (this.#recorder.closing.aborted) return;
      mark = `exit ${(await watch.exited) ?? 'without a code'}`;
    } catch {
      // It ended before it could be watched.
    } finally {
      await this.#recorder.end(this.#cast, mark);
    }
  }
}
