import { randomBytes } from 'node:crypto';
import { errorTable } from '../../src/errors.ts';
import { openSession, request, type Message, type RawSession } from '../support/raw.ts';
import { Belief } from './belief.ts';
import { ticks } from './ticks.ts';
import type { World } from './world.ts';

/** An answer that no fault excuses. */
export class Wrong extends Error {}

/** What became of a call: an answer, a refusal with a known code, or a connection that broke with the server. */
export type Outcome =
  | { readonly kind: 'answered'; readonly fields: Record<string, unknown>; readonly text: string }
  | { readonly kind: 'refused'; readonly code: string; readonly text: string }
  | { readonly kind: 'dropped' };

/** Seconds within which every call ends in some way. */
const longest = 120;

/** One chat's user. He knows what he wrote, and wonders at everything that he did not. */
export class FaultChat {
  readonly index: number;
  readonly world: World;
  /** Nobody else may ever see it. */
  readonly secret = `secret-${randomBytes(12).toString('hex')}`;
  /** Where files are reached, once known. */
  sandbox = '';
  /** The shell's variable `mark`; empty once the shell is lost. */
  readonly mark = new Belief('');
  /** What `note.txt` holds; `undefined`: there is none. */
  readonly note = new Belief<string | undefined>(undefined);
  /** Calls by what became of them. */
  readonly tally = new Map<string, number>();
  readonly #others: () => readonly FaultChat[];
  #session: RawSession | undefined;
  /** When the call before this one began. */
  #before = performance.now();

  constructor(index: number, world: World, others: () => readonly FaultChat[]) {
    this.index = index;
    this.world = world;
    this.#others = others;
  }

  async call(name: string, args: object = {}): Promise<Outcome> {
    const since = performance.now();
    const outcome = await this.#attempt(name, args, since);
    if (outcome.kind !== 'answered' || lossIn(outcome.fields) || isLoss(outcome.fields)) this.mark.suspect('');
    const lost = outcome.kind === 'answered' ? lossIn(outcome.fields) : undefined;
    if (lost !== undefined && name !== 'sandbox_status') this.excuse(this.#before, `was told ${lost}`);
    this.#before = since;
    const key = outcome.kind === 'refused' ? outcome.code : outcome.kind;
    this.tally.set(key, (this.tally.get(key) ?? 0) + 1);
    return outcome;
  }

  /** For what went otherwise than it should have: wrong, unless something struck this chat since a moment. */
  excuse(since: number, what: string): void {
    if (!this.world.disturbed(this.index, since)) throw this.wrong(what);
  }

  wrong(what: string): Wrong {
    return new Wrong(`chat ${this.index} at ${(performance.now() / 1000).toFixed(1)}: ${what.slice(0, 1500)}`);
  }

  async #attempt(name: string, args: object, since: number): Promise<Outcome> {
    let message: Message | undefined;
    try {
      this.#session ??= await this.#open();
      message = await withinLimit(this.#session.call(name, args));
    } catch (error) {
      if (error instanceof Hung) throw this.wrong(`${name} ${JSON.stringify(args)} had no end`);
      return this.#broken(error, since);
    }
    if (message === undefined) return this.#broken(new Error('an empty answer'), since);
    return this.#judged(message, name);
  }

  /** Makes a call, and hangs up after so many milliseconds. */
  async hangUp(name: string, args: object, after: number): Promise<void> {
    const signal = AbortSignal.timeout(after);
    await this.#session?.post(request('tools/call', { name, arguments: args }), {}, signal).catch(() => {});
  }

  async #open(): Promise<RawSession> {
    const chat = { 'x-openwebui-chat-id': `soak-${this.index}` };
    return await withinLimit(openSession({ mcp: `${this.world.server.url}/mcp` }, chat));
  }

  #broken(error: unknown, since: number): Outcome {
    const { message, cause } = error as Error;
    const why = `${message} ${cause instanceof Error ? cause.message : ''}`;
    if (!this.world.serverAway(since)) throw this.wrong(`a connection broke: ${why}`);
    return { kind: 'dropped' };
  }

  #judged({ result, error }: Message, name: string): Outcome {
    const all = JSON.stringify(result ?? error);
    for (const other of this.#others())
      if (other !== this && all.includes(other.secret)) throw this.wrong(`saw the secret of chat ${other.index}`);
    if (!result) throw this.wrong(`${name} was answered ${all}`);
    const text = result.content?.map((part) => part.text ?? '').join('\n') ?? '';
    const fields = result.structuredContent ?? {};
    if (!result.isError) return { kind: 'answered', fields, text };
    const code = String(fields['code']);
    if (!(code in errorTable) || code === 'internal') throw this.wrong(`${name} failed with ${all}`);
    return { kind: 'refused', code, text };
  }
}

/** What a result says was lost before it. */
function lossIn({ lost }: Record<string, unknown>): string | undefined {
  return Array.isArray(lost) && lost.length > 0 ? lost.join(' ') : undefined;
}

/** Whether the result itself is a loss. */
function isLoss({ shell_restarted: restarted, status }: Record<string, unknown>): boolean {
  return restarted === true || status === 'sandbox_lost';
}

class Hung extends Error {}

async function withinLimit<T>(work: Promise<T>): Promise<T> {
  const over = new AbortController();
  const late = ticks.after(longest, over.signal).then(() => Promise.reject(new Hung()));
  try {
    return await Promise.race([work, late]);
  } finally {
    over.abort();
  }
}
