import { AppError } from '../../../errors.ts';
import { HourMeter } from './hour-meter.ts';

/** What may be used at a time or within an hour; 0 = no limit. */
export interface Bounds {
  /** Commands that run, or wait for their shell. */
  readonly commands: number;
  readonly terminals: number;
  /** Bytes. */
  readonly uploadPerHour: number;
  /** Seconds. */
  readonly cpuPerHour: number;
}

/** What one principal, or all together, use. */
class Account {
  commands = 0;
  /** Terminals that are being opened. */
  opening = 0;
  readonly uploaded: HourMeter;
  readonly cpu: HourMeter;

  constructor(now: () => number) {
    this.uploaded = new HourMeter(now);
    this.cpu = new HourMeter(now);
  }

  get isEmpty(): boolean {
    return this.commands + this.opening + this.uploaded.sum() + this.cpu.sum() === 0;
  }
}

export interface LimiterOptions {
  readonly each: Bounds;
  readonly total: Bounds;
  /** Terminals that are open: a principal's, and all. */
  readonly openTerminals: (principal: string) => Promise<{ readonly own: number; readonly all: number }>;
  /** Seconds for which a command may be waited for at a time. */
  readonly longestWait: number;
  /** Milliseconds on a clock that only goes forward. */
  readonly now?: () => number;
}

const minute = 60_000;

/** Counts what principals use, and refuses with `busy` or `too_large` what goes beyond the bounds. */
export class Limiter {
  readonly #options: LimiterOptions;
  readonly #now: () => number;
  readonly #accounts = new Map<string, Account>();
  readonly #all: Account;
  #tidied: number;

  constructor(options: LimiterOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#all = new Account(this.#now);
    this.#tidied = this.#now();
  }

  /** True where nothing is bounded. */
  get isIdle(): boolean {
    const { each, total } = this.#options;
    return [each, total].every((bounds) => Object.values(bounds).every((bound) => bound === 0));
  }

  get longestWait(): number {
    return this.#options.longestWait;
  }

  get countsCpu(): boolean {
    return this.#options.each.cpuPerHour + this.#options.total.cpuPerHour > 0;
  }

  /** Counts a command until it is disposed. */
  command(principal: string): Disposable {
    const { each, total } = this.#options;
    const account = this.#account(principal);
    this.#needCpu(account);
    if (each.commands > 0 && account.commands >= each.commands)
      throw busy(
        `You have ${counted(account.commands, 'command')} running, the most allowed; wait for one to end or stop one`,
        10,
      );
    if (total.commands > 0 && this.#all.commands >= total.commands)
      throw busy(`This server runs ${counted(this.#all.commands, 'command')}, the most allowed`, 10);
    return held((by) => [account, this.#all].forEach((one) => (one.commands += by)));
  }

  /** Counts a terminal while it is being opened; then it is among those that are open. */
  async terminal(principal: string): Promise<Disposable> {
    const { each, total, openTerminals } = this.#options;
    const account = this.#account(principal);
    this.#needCpu(account);
    if (each.terminals + total.terminals === 0) return held(() => {});
    const opening = held((by) => [account, this.#all].forEach((one) => (one.opening += by)));
    try {
      const open = await openTerminals(principal);
      const [own, all] = [open.own + account.opening - 1, open.all + this.#all.opening - 1];
      if (each.terminals > 0 && own >= each.terminals)
        throw busy(
          `You have ${counted(own, 'terminal')} open, the most allowed; close one with end_shell_session first`,
          60,
        );
      if (total.terminals > 0 && all >= total.terminals)
        throw busy(`This server has ${counted(all, 'terminal')} open, the most allowed`, 60);
      return opening;
    } catch (error) {
      opening[Symbol.dispose]();
      throw error;
    }
  }

  /** Counts bytes as they come; throws when they are too many. `size` is what was announced. */
  upload(principal: string, size = 0): (bytes: number) => void {
    const { each, total } = this.#options;
    const account = this.#account(principal);
    const check = (bytes: number) => {
      this.#bound(account, each.uploadPerHour, bytes, 'You have');
      this.#bound(this.#all, total.uploadPerHour, bytes, 'All users have');
    };
    check(size);
    return (bytes) => {
      check(bytes);
      account.uploaded.add(bytes);
      this.#all.uploaded.add(bytes);
    };
  }

  /** Notes CPU seconds; whether the principal has used more than allowed. */
  cpu(principal: string, seconds: number): boolean {
    const account = this.#account(principal);
    account.cpu.add(seconds);
    this.#all.cpu.add(seconds);
    return this.cpuShortage(principal) !== undefined;
  }

  /** Why the principal's commands may not go on, as a sentence without its end, and for how many seconds. */
  cpuShortage(principal: string): { readonly why: string; readonly seconds: number } | undefined {
    return this.#cpuShortage(this.#account(principal));
  }

  #cpuShortage(account: Account): { readonly why: string; readonly seconds: number } | undefined {
    const { each, total } = this.#options;
    const whose = [
      { of: account, most: each.cpuPerHour, who: 'Your sandboxes have' },
      { of: this.#all, most: total.cpuPerHour, who: 'All sandboxes have' },
    ];
    for (const { of, most, who } of whose) {
      const used = of.cpu.sum();
      if (most === 0 || used <= most) continue;
      const why = `${who} used ${tenths(used / 60)} CPU minutes within an hour, and ${tenths(most / 60)} are allowed`;
      return { why, seconds: of.cpu.secondsUntil(most) };
    }
    return undefined;
  }

  #needCpu(account: Account): void {
    const shortage = this.#cpuShortage(account);
    if (shortage) throw busy(shortage.why, shortage.seconds);
  }

  #bound({ uploaded }: Account, most: number, bytes: number, who: string): void {
    if (most === 0) return;
    const used = uploaded.sum();
    if (used + bytes <= most) return;
    const allowed = `${most} bytes an hour are allowed`;
    if (bytes > most)
      throw new AppError('too_large', `The upload has ${bytes} bytes, and ${allowed}; nothing was kept.`);
    const seconds = uploaded.secondsUntil(most - bytes);
    throw busy(`${who} uploaded ${used} bytes within an hour, this upload has ${bytes} more, and ${allowed}`, seconds);
  }

  #account(principal: string): Account {
    this.#tidy();
    const account = this.#accounts.get(principal) ?? new Account(this.#now);
    this.#accounts.set(principal, account);
    return account;
  }

  /** Forgets who uses nothing. */
  #tidy(): void {
    const now = this.#now();
    if (now - this.#tidied < minute) return;
    this.#tidied = now;
    for (const [principal, account] of this.#accounts) if (account.isEmpty) this.#accounts.delete(principal);
  }
}

function held(count: (by: 1 | -1) => void): Disposable {
  count(1);
  let over = false;
  return {
    [Symbol.dispose]() {
      if (!over) count(-1);
      over = true;
    },
  };
}

function busy(why: string, seconds: number): AppError {
  return new AppError('busy', `${why}; try again in ${seconds} s.`, { data: { retry_after: seconds } });
}

const tenths = (value: number): string => String(Math.round(value * 10) / 10);

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;
