import { FrameError, protocolVersion, type ChannelState, type HostFrame } from './frame.ts';

/** What the host said of itself when a connection was made. */
export interface Greeting {
  readonly boot: bigint;
  readonly level: number;
  readonly highest: number;
  readonly channels: ReadonlyMap<number, ChannelState>;
  readonly shell: ShellState;
}

export interface ShellState {
  readonly generation: number;
  /** The channel of the command it runs; 0 = idle. */
  readonly running: number;
  readonly cwd: string;
}

const maxChannels = 4096;

/** Collects the frames of a greeting. */
export class GreetingReader {
  readonly #channels = new Map<number, ChannelState>();
  #welcome: Extract<HostFrame, { type: 'welcome' }> | undefined;
  #shell: ShellState | undefined;

  /** True when the greeting is complete. */
  take(frame: HostFrame): boolean {
    if (frame.type === 'ready') return true;
    if (frame.type === 'welcome' && !this.#welcome) this.#open(frame);
    else if (frame.type === 'channel' && this.#welcome) this.#add(frame);
    else if (frame.type === 'shell' && this.#welcome) this.#shell = frame;
    else throw new FrameError('the host sent another frame in its greeting');
    return false;
  }

  #open(frame: Extract<HostFrame, { type: 'welcome' }>): void {
    if (frame.version !== protocolVersion) throw new FrameError(`the host speaks version ${frame.version}`);
    this.#welcome = frame;
  }

  #add(state: ChannelState): void {
    if (this.#channels.size === maxChannels) throw new FrameError(`the host lists more than ${maxChannels} channels`);
    this.#channels.set(state.channel, state);
  }

  result(): Greeting {
    if (!this.#welcome || !this.#shell) throw new FrameError('the greeting is incomplete');
    return { ...this.#welcome, channels: this.#channels, shell: this.#shell };
  }
}
