import { hostImage, testImage } from '../support/docker-runtime.ts';
import { OwnEngine } from '../support/own-engine.ts';
import { ServerProcess } from '../support/server-process.ts';
import { ticks } from './ticks.ts';

/** Whom a fault strikes: one chat, by its index, or all; `server` is all, and connections may break. */
export type Victim = number | 'all' | 'server';

/** Milliseconds in which what was struck may still be getting up. */
const grace = 8000;

/** Times are of the monotonic clock. */
interface Harm {
  going: number;
  ended: number;
}

/** The engine, the server, and what befalls them. */
export class World implements AsyncDisposable {
  readonly engine: OwnEngine;
  readonly server: ServerProcess;
  readonly #harms = new Map<Victim, Harm>();
  /** The latest faults, for whoever wonders. */
  readonly #story: string[] = [];

  private constructor(engine: OwnEngine, server: ServerProcess) {
    this.engine = engine;
    this.server = server;
    ticks.onStandstill((since) => this.#note('all', 'machine stood still', since));
  }

  static async create(): Promise<World> {
    const engine = new OwnEngine(1024);
    try {
      await engine.start('--live-restore');
      await engine.load(testImage, hostImage);
      return new World(engine, await ServerProcess.start(settings(engine)));
    } catch (error) {
      await engine[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Does something bad, and keeps in mind whom it strikes, and until when. */
  async strike(victim: Victim, name: string, run: () => Promise<unknown>): Promise<void> {
    const harm = this.#harmOf(victim);
    const begun = performance.now();
    harm.going += 1;
    try {
      await run();
    } finally {
      harm.going -= 1;
      this.#note(victim, name, begun);
    }
  }

  #note(victim: Victim, name: string, begun: number): void {
    const harm = this.#harmOf(victim);
    harm.ended = performance.now();
    const at = (time: number) => (time / 1000).toFixed(1);
    this.#story.push(`${at(begun)}–${at(harm.ended)} ${name} (${victim})`);
    if (this.#story.length > 12) this.#story.shift();
  }

  /** Whether something that strikes the chat has gone on since a moment, or had not been over for long. */
  disturbed(chat: number, since: number): boolean {
    return ([chat, 'all', 'server'] as const).some((victim) => this.#harmed(victim, since - grace));
  }

  /** Whether the server was away for a while since a moment. */
  serverAway(since: number): boolean {
    return this.#harmed('server', since);
  }

  #harmOf(victim: Victim): Harm {
    const harm = this.#harms.get(victim) ?? { going: 0, ended: -Infinity };
    this.#harms.set(victim, harm);
    return harm;
  }

  get story(): string {
    return this.#story.join('\n  ');
  }

  #harmed(victim: Victim, since: number): boolean {
    const harm = this.#harms.get(victim);
    return harm !== undefined && (harm.going > 0 || harm.ended >= since);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    await this.engine[Symbol.asyncDispose]();
  }
}

function settings(engine: OwnEngine): Record<string, string> {
  return {
    BERTH_DOCKER__HOST: engine.host,
    BERTH_DOCKER__CALL_TIMEOUT: '5',
    BERTH_SERVER__DRAIN: '5',
    BERTH_SESSION__TEMPLATE: 'base',
    BERTH_SESSION__CLEANUP_INTERVAL: '5',
    BERTH_TEMPLATES__BASE__MEMORY: '128MiB',
    BERTH_TEMPLATES__BASE__TMP: '16MiB',
    BERTH_TEMPLATES__BASE__PIDS: '64',
    BERTH_TEMPLATES__BASE__DISK: '32MiB',
    BERTH_WORKSPACE__RESERVE: '0',
    BERTH_LIMITS__HOST_MEMORY_START: '0',
  };
}
