import { randomBytes } from 'node:crypto';
import { Entry } from './entry.ts';
import type { Key } from '../../identity/key.ts';
import type { SandboxRow, State } from '../../state/state.ts';

/** The sandboxes in memory, by handle and by key. What no one uses and has no container is known to the state alone. */
export class Roster {
  readonly #state: State;
  readonly #byHandle = new Map<string, Entry>();
  readonly #byKey = new Map<string, Entry>();

  constructor(state: State) {
    this.#state = state;
  }

  all(): Entry[] {
    return [...this.#byHandle.values()];
  }

  /** Those that have, or are getting, a container. */
  awake(): Entry[] {
    return this.all().filter((entry) => entry.row.state === 'live' && !entry.ended);
  }

  get(handle: string): Entry | undefined {
    return this.#byHandle.get(handle);
  }

  /** The key's sandbox, in memory or known to the state. */
  find(key: Key): Entry | undefined {
    const known = this.#byKey.get(keyName(key));
    if (known && !known.ended) return known;
    const row = this.#state.find(key);
    return row && this.remember(row);
  }

  remember(row: SandboxRow): Entry {
    const known = this.#byHandle.get(row.handle);
    if (known) return known;
    const entry: Entry = new Entry(row, () => this.settle(entry));
    this.#byHandle.set(row.handle, entry);
    for (const name of namesOf(row)) this.#byKey.set(name, entry);
    return entry;
  }

  /**
   * Drops an entry that only its row needs: what is known costs memory only while it is awake. Not before its steps
   * have ended: a new entry's would run beside them.
   */
  settle(entry: Entry): void {
    const asleep = !entry.live && !entry.found && entry.row.state !== 'live';
    if (entry.leases === 0 && !entry.stepping && (asleep || entry.ended)) this.#forget(entry);
  }

  #forget(entry: Entry): void {
    if (this.#byHandle.get(entry.row.handle) !== entry) return;
    this.#byHandle.delete(entry.row.handle);
    for (const name of namesOf(entry.row)) if (this.#byKey.get(name) === entry) this.#byKey.delete(name);
  }
}

export function newHandle(): string {
  return `sb_${randomBytes(12).toString('hex')}`;
}

export function containerName(instance: string, handle: string): string {
  return `berth-${instance}-${handle}`;
}

/** A workspace's name is new for each workspace, so that a replaced one is never mistaken for its successor. */
export function newVolume(instance: string, handle: string): string {
  return `berth-${instance}-${handle}-${randomBytes(3).toString('hex')}`;
}

function keyName(key: Key): string {
  return [key.principal.id, key.scope.kind, 'id' in key.scope ? key.scope.id : ''].join('\0');
}

/** Every key that leads to the row: its own, and its handle. */
function namesOf(row: SandboxRow): string[] {
  return [`${row.principal}\0${row.scopeKind}\0${row.scopeId}`, `${row.principal}\0handle\0${row.handle}`];
}
