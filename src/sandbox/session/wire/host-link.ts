import { AppError } from '../../../errors.ts';
import type { DialFrame, HostFrame } from './frame.ts';
import type { Greeting } from './greeting.ts';

/** Frames that come after the greeting. */
export type LiveFrame = Exclude<HostFrame, { type: 'welcome' | 'channel' | 'ready' | 'pong' | 'snapshot' } | DialFrame>;

export interface LinkEvents {
  /** A connection is made, for the first time or again; frames follow. */
  attached(greeting: Greeting, first: boolean): void;
  frame(frame: LiveFrame | DialFrame): void;
  /** The connection is gone, and with it what it carried. */
  detached?(): void;
  /** True while something waits for the host, so that its silence has to be noticed. */
  waiting(): boolean;
}

export interface Pong {
  readonly processes: number;
  readonly terminals: number;
}

/** How the server speaks to a session host, or to what stands in for one. */
export interface HostLink extends AsyncDisposable {
  /** Connects for the first time. Rejects `sandbox_lost`, or `unsupported` where no host answers. */
  connect(events: LinkEvents): Promise<void>;
  /** Resolves with a clause such as `its container ended` when the host can't be reached any more. */
  readonly closed: Promise<string>;
  readonly isAttached: boolean;
  /** The host's random number, new for every host. */
  readonly boot: bigint;
  /** What the host knows besides its version; absent where none runs. */
  readonly level?: number;
  /** Resolves when frames can be sent; rejects `sandbox_lost` when they never can. */
  readonly ready: Promise<void>;
  /** As `ready`, for a caller that can't wait for ever. Rejects `engine_unavailable`, too. */
  readyWithin(milliseconds: number): Promise<void>;
  /** A number for a new command or terminal. Frames that use it must be sent in the order of these numbers. */
  nextChannel(): number;
  /** Sends frames; without a connection they are lost, and `attached` is the time to say again what matters. */
  send(...frames: readonly Uint8Array[]): void;
  /** Asks the host whether it lives. Rejects `timeout`. */
  ping(deadline?: number): Promise<Pong>;
  /** Gives the reason of the end to come, whatever it looks like from here. */
  endsBecause(why: string): void;
  /** The idle shell's snapshot for another host, within 2 s; undefined where there is none to be had. Never rejects. */
  carry?(): Promise<Uint8Array | undefined>;
  /** Gives a host whose shell has run nothing the snapshot of another; rejects with the reason why it has no effect. */
  give?(snapshot: Uint8Array): Promise<void>;
}

/** Why a sandbox does not answer whose container may well run. */
export function unreachable(): AppError {
  return new AppError('engine_unavailable', "The sandbox can't be reached at the moment; try again in a few seconds.", {
    data: { retry_after: 5 },
  });
}
