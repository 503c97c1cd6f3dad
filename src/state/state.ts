import { createHash, createHmac, randomBytes } from 'node:crypto';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { deflated, inflated } from './deflated.ts';
import type { Key, Scope } from '../identity/key.ts';
import { KeyStore, openDatabase } from '../identity/key-store.ts';
import { holdState, makeStateDirectory } from './directory.ts';
import { WallClock } from '../lib/wall-clock.ts';

/** What the engine can't record about a sandbox. Times are milliseconds since the epoch. */
export interface SandboxRow {
  readonly handle: string;
  readonly principal: string;
  readonly scopeKind: Scope['kind'];
  readonly scopeId: string;
  readonly template: string;
  readonly volume: string;
  /** `live`: a container should run; `stopped`: it may exist and does not run; `idle`: only the workspace exists. */
  readonly state: 'live' | 'stopped' | 'idle';
  readonly created: number;
  readonly lastUsed: number;
  readonly expires: number | null;
  /** Sentences for the next wake. */
  readonly lost: readonly string[];
}

/** A port of a sandbox that can be visited. */
export interface PreviewRow {
  /** Its part of a host name: unguessable. */
  readonly label: string;
  readonly handle: string;
  readonly port: number;
  /** `link`: whoever has the link; `key`: the sandbox's owner. */
  readonly access: 'link' | 'key';
  readonly host: 'localhost' | 'kept';
  readonly expires: number;
  /** The id of the API key it ends with. */
  readonly madeBy: string | null;
}

/** A command as a new server has to know it to go on with it. */
export interface CommandRow {
  readonly handle: string;
  readonly commandId: string;
  readonly record: string;
}

/**
 * The embedded database under `state_dir`. Every change is written before it is acted on; it survives a kill of the
 * server. One server at a time holds it; a second one is refused with `conflict`.
 */
export class State implements Disposable {
  readonly #db: DatabaseSync;
  readonly #lock: Disposable;
  readonly #statements = new Map<string, StatementSync>();
  /** Names this installation's containers and volumes among those of others on the same engine. */
  readonly instance: string;
  /** API keys that were made on the command line. */
  readonly keys: KeyStore;
  readonly #secret: Uint8Array;
  readonly #clock = new WallClock();

  /** `shared`: beside a server that may use the directory, for a short look or change. */
  constructor(directory: string, { shared = false }: { shared?: boolean } = {}) {
    makeStateDirectory(directory);
    this.#lock = shared ? { [Symbol.dispose]: () => {} } : holdState(directory);
    try {
      [this.#db, this.keys, this.instance, this.#secret] = openDatabase(directory, (db) => {
        return [db, new KeyStore(db), ...identityOf(db)];
      });
    } catch (error) {
      this.#lock[Symbol.dispose]();
      throw error;
    }
  }

  #prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known) return known;
    const statement = this.#db.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  /** 32 bytes that only this installation can derive, e.g. a session host's token. */
  derive(purpose: string, name: string): Buffer {
    return createHmac('sha256', this.#secret).update(`${purpose}\0${name}`).digest();
  }

  /** A digest fit for labels and logs: equal for equal names, telling nothing of them. */
  digest(name: string): string {
    return createHash('sha256').update(this.#secret).update(name).digest('hex').slice(0, 24);
  }

  find(key: Key): SandboxRow | undefined {
    if (key.scope.kind === 'handle') return this.#owned(key.principal.id, key.scope.id);
    const id = 'id' in key.scope ? key.scope.id : '';
    return toRow(
      this.#prepare('SELECT * FROM sandboxes WHERE principal = ? AND scope_kind = ? AND scope_id = ?').get(
        key.principal.id,
        key.scope.kind,
        id,
      ),
    );
  }

  #owned(principal: string, handle: string): SandboxRow | undefined {
    return toRow(this.#prepare('SELECT * FROM sandboxes WHERE handle = ? AND principal = ?').get(handle, principal));
  }

  get(handle: string): SandboxRow | undefined {
    return toRow(this.#prepare('SELECT * FROM sandboxes WHERE handle = ?').get(handle));
  }

  /** Every sandbox, its times by the wall clock as it is set now. */
  all(): SandboxRow[] {
    this.#followClock();
    return this.#prepare('SELECT * FROM sandboxes')
      .all()
      .flatMap((row) => toRow(row) ?? []);
  }

  of(principal: string): SandboxRow[] {
    return this.#prepare('SELECT * FROM sandboxes WHERE principal = ? ORDER BY created')
      .all(principal)
      .flatMap((row) => toRow(row) ?? []);
  }

  insert(row: SandboxRow): void {
    this.#followClock();
    this.#prepare('INSERT INTO sandboxes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)').run(
      row.handle,
      row.principal,
      row.scopeKind,
      row.scopeId,
      row.template,
      row.volume,
      row.state,
      row.created,
      row.lastUsed,
      row.expires,
      JSON.stringify(row.lost),
    );
  }

  /** Writes the fields that change in a sandbox's life. */
  update(row: SandboxRow): void {
    this.#followClock();
    this.#prepare('UPDATE sandboxes SET volume = ?, state = ?, last_used = ?, lost = ? WHERE handle = ?').run(
      row.volume,
      row.state,
      row.lastUsed,
      JSON.stringify(row.lost),
      row.handle,
    );
  }

  /** Puts off the end of a sandbox that has one, in milliseconds since the epoch; an earlier end changes nothing. */
  extend(handle: string, expires: number): void {
    this.#followClock();
    this.#prepare('UPDATE sandboxes SET expires = max(expires, ?) WHERE handle = ?').run(expires, handle);
  }

  /** A ready sandbox becomes its first caller's. */
  claim(row: SandboxRow): void {
    this.#followClock();
    this.#prepare(
      'UPDATE sandboxes SET principal = ?, scope_kind = ?, scope_id = ?, created = ?, last_used = ?, expires = ? WHERE handle = ?',
    ).run(row.principal, row.scopeKind, row.scopeId, row.created, row.lastUsed, row.expires, row.handle);
  }

  remove(handle: string): void {
    this.#prepare('DELETE FROM sandboxes WHERE handle = ?').run(handle);
  }

  /** Notes that a workspace is about to be removed, so that a later server may finish it. */
  doom(volume: string): void {
    this.#prepare('INSERT OR IGNORE INTO doomed VALUES (?)').run(volume);
  }

  /** Takes that back, or notes that it is gone. */
  spare(volume: string): void {
    this.#prepare('DELETE FROM doomed WHERE volume = ?').run(volume);
  }

  doomed(): string[] {
    return this.#prepare('SELECT volume FROM doomed')
      .all()
      .map((row) => row['volume'] as string);
  }

  count(): number {
    return Number(this.#prepare("SELECT count(*) AS n FROM sandboxes WHERE principal <> ''").get()?.['n']);
  }

  saveCommand(row: CommandRow): void {
    this.#prepare('INSERT OR REPLACE INTO commands VALUES (?, ?, ?)').run(row.handle, row.commandId, row.record);
  }

  dropCommand(handle: string, commandId: string): void {
    this.#prepare('DELETE FROM commands WHERE handle = ? AND command_id = ?').run(handle, commandId);
  }

  dropCommands(handle: string): void {
    this.#prepare('DELETE FROM commands WHERE handle = ?').run(handle);
  }

  commands(handle: string): CommandRow[] {
    return this.#prepare('SELECT command_id, record FROM commands WHERE handle = ?')
      .all(handle)
      .map((row) => ({ handle, commandId: row['command_id'] as string, record: row['record'] as string }));
  }

  /** Keeps what the sandbox's next shell is to begin with; drops it for `undefined`, and for what is too large to keep. */
  keepShell(handle: string, snapshot: Uint8Array | undefined): void {
    const blob = snapshot && deflated(snapshot);
    if (blob) this.#prepare('INSERT OR REPLACE INTO shells VALUES (?, ?)').run(handle, blob);
    else this.#prepare('DELETE FROM shells WHERE handle = ?').run(handle);
  }

  /** What is kept; it stays until `keepShell` drops it. */
  takeShell(handle: string): Uint8Array | undefined {
    const row = this.#prepare('SELECT snapshot FROM shells WHERE handle = ?').get(handle);
    return row && inflated(row['snapshot'] as Uint8Array);
  }

  /** Those that have expired are forgotten. */
  savePreview({ label, handle, port, access, host, expires, madeBy }: PreviewRow): void {
    this.#prepare('DELETE FROM previews WHERE expires < ?').run(Date.now());
    this.#prepare('INSERT INTO previews VALUES (?, ?, ?, ?, ?, ?, ?)').run(
      label,
      handle,
      port,
      access,
      host,
      expires,
      madeBy,
    );
  }

  preview(label: string): PreviewRow | undefined {
    const row = this.#prepare('SELECT * FROM previews WHERE label = ?').get(label);
    if (!row) return undefined;
    const { made_by: madeBy, ...rest } = row;
    return { ...(rest as unknown as Omit<PreviewRow, 'madeBy'>), madeBy: madeBy as string | null };
  }

  /** Those of a sandbox, or of one of its ports. */
  dropPreviews(handle: string, port?: number): void {
    this.#prepare('DELETE FROM previews WHERE handle = ?1 AND port = ifnull(?2, port)').run(handle, port ?? null);
  }

  saveSession(session: { id: string; principal: string; initialize: string }): void {
    this.#followClock();
    const { id, principal, initialize } = session;
    this.#prepare('INSERT OR REPLACE INTO mcp_sessions VALUES (?, ?, ?, ?)').run(id, principal, initialize, Date.now());
  }

  /** The `initialize` message of that principal's session. */
  session(id: string, principal: string): string | undefined {
    const row = this.#prepare('SELECT initialize FROM mcp_sessions WHERE id = ? AND principal = ?').get(id, principal);
    return row?.['initialize'] as string | undefined;
  }

  touchSession(id: string): void {
    this.#followClock();
    this.#prepare('UPDATE mcp_sessions SET last_used = ? WHERE id = ?').run(Date.now(), id);
  }

  dropSession(id: string): void {
    this.#prepare('DELETE FROM mcp_sessions WHERE id = ?').run(id);
  }

  dropSessionsUnusedFor(milliseconds: number): void {
    this.#followClock();
    this.#prepare('DELETE FROM mcp_sessions WHERE last_used < ?').run(Date.now() - milliseconds);
  }

  /** When the wall clock is set, nothing has been idle for longer, or expires sooner, than before. */
  #followClock(): void {
    const step = this.#clock.takeStep();
    if (step === 0) return;
    this.#prepare('UPDATE sandboxes SET last_used = last_used + ?1, expires = expires + ?1').run(step);
    this.#prepare('UPDATE mcp_sessions SET last_used = last_used + ?1').run(step);
  }

  [Symbol.dispose](): void {
    this.#db.close();
    this.#lock[Symbol.dispose]();
  }
}

function identityOf(db: DatabaseSync): [string, Uint8Array] {
  const row = db.prepare('SELECT id, secret FROM instance').get();
  if (row) return [row['id'] as string, row['secret'] as Uint8Array];
  const [id, secret] = [randomBytes(5).toString('hex'), randomBytes(32)];
  db.prepare('INSERT INTO instance VALUES (?, ?)').run(id, secret);
  return [id, secret];
}

function toRow(row: Record<string, unknown> | undefined): SandboxRow | undefined {
  if (!row) return undefined;
  return {
    handle: row['handle'] as string,
    principal: row['principal'] as string,
    scopeKind: row['scope_kind'] as Scope['kind'],
    scopeId: row['scope_id'] as string,
    template: row['template'] as string,
    volume: row['volume'] as string,
    state: row['state'] as SandboxRow['state'],
    created: row['created'] as number,
    lastUsed: row['last_used'] as number,
    expires: row['expires'] as number | null,
    lost: JSON.parse(row['lost'] as string) as string[],
  };
}
