import { callContext } from '../../call-context.ts';
import { mayUse } from '../../../identity/key.ts';
import type { Container } from '../../ports/runtime.ts';
import type { Cause } from '../../ports/workspace.ts';
import {
  type Failure,
  hostIn,
  looksCrowded,
  looksFull,
  looksKilled,
  looksOffline,
  looksTorn,
  looksUnprivileged,
} from './evidence.ts';
import { type Facts, type Fill, lookInside } from './facts.ts';

/** A connection out of the sandbox that was refused. */
export interface Denial {
  /** `host:port` */
  readonly target: string;
  /** A sentence that names the host and the rule. */
  readonly message: string;
}

export interface Surroundings {
  readonly container: Pick<Container, 'exec' | 'usage'>;
  readonly template: string;
  readonly network: string;
  readonly limits: { readonly memory: number; readonly pids: number };
  /** Templates whose sandboxes have a network; a caller is told of those that they may use. */
  readonly connected?: readonly string[];
  /** Refusals from a moment of the monotonic clock on, the last one last. Absent where there is no proxy. */
  readonly denials?: (since: number) => readonly Denial[];
}

/**
 * Finds out why commands failed. Nothing is looked at unless a command's own end gives a reason to: a `grep` without
 * a match costs nothing.
 */
export class Diagnosis {
  readonly #around: Surroundings;
  /** Processes killed for memory that commands were told of, or that nobody will be. */
  #oomKills = 0;

  constructor(around: Surroundings) {
    this.#around = around;
  }

  /** Takes note of what happened before this server came, so that no command of its own is blamed on it. Never rejects. */
  async learn(): Promise<void> {
    const facts = await lookInside(this.#around.container, 'memory');
    this.#oomKills = Math.max(this.#oomKills, facts?.oomKills ?? 0);
  }

  /** `since` is when the command began, in milliseconds on the monotonic clock. */
  async explain(failure: Failure, since: number): Promise<Cause | undefined> {
    return (
      this.#denied(since) ??
      (await this.#memory(failure)) ??
      (await this.#torn(failure)) ??
      (await this.#disk(failure)) ??
      (await this.#pids(failure)) ??
      this.#offline(failure) ??
      unprivileged(failure)
    );
  }

  #denied(since: number): Cause | undefined {
    const denials = this.#around.denials?.(since) ?? [];
    const messages = [...new Set(denials.map(({ message }) => message))];
    const last = messages.at(-1);
    if (last === undefined) return undefined;
    const more = messages.length > 1 ? ` ${messages.length - 1} other targets were refused, too.` : '';
    return { code: 'egress_denied', message: last + more };
  }

  async #memory(failure: Failure): Promise<Cause | undefined> {
    if (!looksKilled(failure)) return undefined;
    const facts = await lookInside(this.#around.container, 'memory');
    const kills = (facts?.oomKills ?? 0) - this.#oomKills;
    if (!facts || kills <= 0) return undefined;
    this.#oomKills = facts.oomKills;
    return { code: 'out_of_memory', message: this.#outOfMemory(facts, kills) };
  }

  #outOfMemory({ largest, fills }: Facts, kills: number): string {
    const { memory } = this.#around.limits;
    const tmp = fills.find(({ path, used }) => path === '/tmp' && used > memory / 10);
    return [
      `The sandbox ran out of memory: its limit is ${show(memory)}, and the kernel killed ${kills === 1 ? 'a process' : `${kills} processes`}.`,
      largest && `The largest process now is ${largest.name} (pid ${largest.pid}) with ${show(largest.bytes)}.`,
      tmp && `/tmp counts as memory and holds ${show(tmp.used)}.`,
    ]
      .filter(Boolean)
      .join(' ');
  }

  async #disk(failure: Failure): Promise<Cause | undefined> {
    const seen = looksFull(failure);
    if (seen === 'no') return undefined;
    const facts = await lookInside(this.#around.container, 'disk');
    if (!facts)
      return seen === 'certain' ? { code: 'disk_full', message: 'A disk of the sandbox is full.' } : undefined;
    const full = facts.fills.find(isFull);
    const fill = full ?? (seen === 'certain' ? facts.fills[0] : undefined);
    return fill && { code: 'disk_full', message: diskFull(fill, facts, full !== undefined) };
  }

  /** A page of a mapped file that no disk has room for: the write is a signal, not an error. */
  async #torn(failure: Failure): Promise<Cause | undefined> {
    if (!looksTorn(failure)) return undefined;
    const facts = await lookInside(this.#around.container, 'disk');
    const full = facts?.fills.find(isFull);
    if (facts && full) return { code: 'disk_full', message: `${busError}: ${diskFull(full, facts, true)}` };
    const shm = facts?.fills.find(isShm);
    if (!shm) return undefined;
    const message = `${busError}, most often because shared memory outgrew /dev/shm: ${show(shm.size - shm.used)} of ${show(shm.size)} are free in it now. ${shmAdvice}`;
    return { code: 'disk_full', message };
  }

  async #pids(failure: Failure): Promise<Cause | undefined> {
    if (!looksCrowded(failure)) return undefined;
    const usage = await this.#around.container.usage(AbortSignal.timeout(3000)).catch(() => undefined);
    const limit = usage?.pidsLimit || this.#around.limits.pids;
    const message = `The sandbox reached its limit of ${limit} processes and threads; ${usage?.pids ?? 'too many'} exist now. End some, or call reset_session.`;
    return { code: 'pids_limit', message };
  }

  #offline(failure: Failure): Cause | undefined {
    const { network, template } = this.#around;
    if (network === 'open' || !looksOffline(failure)) return undefined;
    const host = hostIn(failure) ?? 'the host';
    const why =
      network === 'none'
        ? `This sandbox has no network (template ${template})`
        : 'Only HTTP and HTTPS leave this sandbox, through the proxy that HTTP_PROXY and HTTPS_PROXY name';
    const message = `${why}, so ${host} could not be reached.`;
    return { code: 'egress_denied', message: network === 'none' ? `${message} ${this.#wayOut()}` : message };
  }

  /** Nobody is told of templates that are not for them. */
  #connected(): readonly string[] {
    const principal = callContext()?.principal;
    return (this.#around.connected ?? []).filter((name) => principal !== undefined && mayUse(principal, name));
  }

  /** What helps a sandbox without a network: one sentence. */
  #wayOut(): string {
    const connected = this.#connected();
    const template = 'a template with network: allow-list and the host in allow_hosts';
    if (connected.length === 0) return `The operator can add ${template}.`;
    const names = connected.length === 1 ? `template ${connected[0]}` : `one of the templates ${connected.join(', ')}`;
    return `A sandbox from ${names} has a network (create_sandbox), or the operator can add ${template}.`;
  }
}

/** Told after what is offline: with a network, too, a package would not get in. */
function unprivileged(failure: Failure): Cause | undefined {
  if (!looksUnprivileged(failure)) return undefined;
  const message =
    'There is no root in this sandbox, and its system is read-only: apt and sudo cannot work. Install below /workspace (pip install, npm install, a static program in ~/.local/bin), or ask the operator for an image with the package.';
  return { code: 'unsupported', message };
}

const MiB = 1024 ** 2;
const busError = 'A process died of a bus error (SIGBUS)';
const shmAdvice = 'It counts as memory, and the template’s shm is its size: the operator can raise it.';

const isShm = ({ path }: Fill): boolean => path === '/dev/shm';

/** A file system keeps a little for itself: what a user can't have is not free. */
function isFull({ size, used, filesFull }: Fill): boolean {
  const kept = Math.min(Math.max(size * 0.03, MiB), 32 * MiB);
  return filesFull || (size > 0 && size - used <= kept);
}

function diskFull(fill: Fill, { directories }: Facts, full: boolean): string {
  const { path, size, used, filesFull } = fill;
  const biggest = directories.slice(0, 5).map((one) => `${one.path} (${show(one.bytes)})`);
  return [
    full
      ? `${path} is full: ${show(used)} of ${show(size)} are used${filesFull ? ', and no more files can be made' : ''}.`
      : `A write did not fit; ${show(size - used)} of ${show(size)} are free in ${path} again.`,
    path === '/workspace' && biggest.length > 0 && `The biggest directories are ${biggest.join(', ')}.`,
    full && isShm(fill) && shmAdvice,
  ]
    .filter(Boolean)
    .join(' ');
}

function show(bytes: number): string {
  const mebibytes = bytes / MiB;
  if (mebibytes >= 1024) return `${Number((mebibytes / 1024).toFixed(1))} GiB`;
  return `${mebibytes >= 10 ? Math.round(mebibytes) : Number(mebibytes.toFixed(1))} MiB`;
}
