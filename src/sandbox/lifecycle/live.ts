import type { Container, ContainerRecord } from '../ports/runtime.ts';
import type { SandboxRow } from '../../state/state.ts';
import type { Glance, SandboxStatus, Workspace } from '../ports/workspace.ts';

/** A sandbox whose container runs and whose session host answers. Disposing detaches and ends nothing. */
export interface Live extends AsyncDisposable {
  readonly container: Container;
  readonly workspace: Workspace;
  /** Past audit, limits and metrics; absent where there is none. */
  readonly glance?: Glance;
  activity(): Promise<Activity>;
  /** The command that the shell runs. */
  command?(): string | undefined;
  /** False while the session host does not answer. */
  alive(): boolean;
  /** Settles when the container or its session host is gone for good; a clause such as `its container was killed`. */
  readonly closed: Promise<string>;
  /** What the idle shell needs to go on in another container, within 2 s; undefined: nothing is to be had. Never rejects. */
  carry?(): Promise<Uint8Array | undefined>;
  /** Whether somebody had this adopted sandbox before: commands were begun or files made. */
  used?(): Promise<boolean>;
  /** True where the workspace began empty with this container. */
  readonly emptied?: boolean;
  /** True where the shell began with what another container's had. */
  readonly restored?: boolean;
  /** Gives the clause that `closed` resolves with when the sandbox ends next, for whoever is at work in it. */
  endsBecause?(why: string): void;
  /** The same sandbox as its new owner's: what callers hold then acts in the owner's name. */
  claimedBy(row: SandboxRow): Live;
}

/** What keeps a sandbox from being idled out. */
export interface Activity {
  readonly running: boolean;
  /** Processes besides the idle shell and the terminals' own. */
  readonly processes: number;
  /** Terminals someone is watching. */
  readonly watched: number;
}

/** Makes a row's sandbox live: a new container over its workspace, or the running one that a record names. */
export interface Opener {
  open(row: SandboxRow, signal: AbortSignal): Promise<Live>;
  adopt(row: SandboxRow, record: ContainerRecord, signal: AbortSignal): Promise<Live>;
  /** What is known of the sandbox while it has no container. */
  describe(row: SandboxRow): SandboxStatus;
  /** A digest of all that the row's template says of a container and of its image; equal where none need be made anew. */
  specOf(row: SandboxRow): Promise<string>;
}

export function isWorking(activity: Activity): boolean {
  return activity.running || activity.processes > 0 || activity.watched > 0;
}
