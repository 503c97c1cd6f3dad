import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, closeSync, existsSync, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { AppError } from '../errors.ts';
import type { KeyScope } from './key.ts';
import { migrate } from '../state/migrations.ts';
import { makeStateDirectory, onState } from '../state/directory.ts';

/** A key that was made with `berth key create`. Times are milliseconds since the epoch. */
export interface StoredKey {
  /** What it is called in lists; no secret. */
  readonly id: string;
  /** Whose it is. Several keys of one name are one owner's, so that he can change them without losing his sandboxes. */
  readonly name: string;
  readonly scopes: readonly KeyScope[];
  /** Absent = all. */
  readonly templates?: readonly string[];
  /** How its owner names the users he serves; absent = he serves nobody else. */
  readonly users?: 'headers' | 'signed';
  readonly created: number;
  readonly expires: number | null;
  readonly revoked: number | null;
  /** To the minute. */
  readonly lastUsed: number | null;
}

export type NewKey = Pick<StoredKey, 'name' | 'scopes' | 'templates' | 'users' | 'expires'>;

const prefix = 'berth_';
/** Milliseconds for which a key's use is not noted again. */
const noteEvery = 60_000;

/** File names under `state_dir` of the database that several processes may have open. */
export const stateFile = (directory: string): string => join(directory, 'state.sqlite');

/**
 * Opens the database of a directory that is there, so that another process's short write is waited for, and reads it with
 * `first`, in this program's version. Throws an `AppError` for the operator where the file cannot be used.
 */
export function openDatabase<T>(directory: string, first: (db: DatabaseSync) => T): T {
  return onState(stateFile(directory), () => {
    const db = connect(directory);
    try {
      migrate(db);
      return first(db);
    } catch (error) {
      db.close();
      throw error;
    }
  });
}

function connect(directory: string): DatabaseSync {
  makePrivate(stateFile(directory));
  const db = new DatabaseSync(stateFile(directory), { timeout: 5000 });
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;');
  // What a shell went on with may be secret; deleted, it is not to stay on a free page.
  db.exec('PRAGMA secure_delete = ON;');
  return db;
}

/**
 * Only the owner reads what signs links and what shells held, also in a directory that was there and is open to all. Files
 * that SQLite makes beside it get its mode.
 */
function makePrivate(file: string): void {
  closeSync(openSync(file, 'a', 0o600));
  for (const one of [file, `${file}-wal`, `${file}-shm`])
    if (existsSync(one) && (statSync(one).mode & 0o077) !== 0) chmodSync(one, 0o600);
}

/**
 * The API keys in the state. Only their hashes are there. Every look is a look at the file, so that what the command
 * line changes counts at once in a server that runs.
 */
export class KeyStore {
  readonly #insert: StatementSync;
  readonly #all: StatementSync;
  readonly #bySecret: StatementSync;
  readonly #byId: StatementSync;
  readonly #revoke: StatementSync;
  readonly #use: StatementSync;

  constructor(db: DatabaseSync) {
    this.#insert = db.prepare('INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)');
    this.#all = db.prepare('SELECT * FROM keys ORDER BY created, id');
    this.#bySecret = db.prepare('SELECT * FROM keys WHERE sha256 = ?');
    this.#byId = db.prepare('SELECT * FROM keys WHERE id = ?');
    this.#revoke = db.prepare('UPDATE keys SET revoked = ? WHERE revoked IS NULL AND (id = ? OR name = ?) RETURNING *');
    this.#use = db.prepare('UPDATE keys SET last_used = ? WHERE id = ?');
  }

  /** Makes a key. Its text is given here and never again. */
  create(key: NewKey): { key: StoredKey; text: string } {
    const text = prefix + randomBytes(32).toString('base64url');
    const id = `key_${randomBytes(4).toString('hex')}`;
    const created = Date.now();
    const { name, scopes, templates, users, expires } = key;
    const list = templates ? JSON.stringify(templates) : null;
    this.#insert.run(id, name, hashOf(text), JSON.stringify(scopes), list, users ?? null, created, expires);
    return { text, key: { id, created, revoked: null, lastUsed: null, ...key } };
  }

  /** Those that are revoked or expired, too. */
  list(): StoredKey[] {
    return this.#all.all().map(toKey);
  }

  /** Ends a key by its id, or all of a name; those that were good until then. */
  revoke(nameOrId: string): StoredKey[] {
    return this.#revoke.all(Date.now(), nameOrId, nameOrId).map(toKey);
  }

  /** The good key that a caller's token is; its use is noted. */
  find(token: string): StoredKey | undefined {
    if (!token.startsWith(prefix)) return undefined;
    const row = this.#bySecret.get(hashOf(token));
    const key = row && toKey(row);
    if (!key || !isGood(key)) return undefined;
    const now = Date.now();
    if (now - (key.lastUsed ?? 0) > noteEvery) this.#use.run(now, key.id);
    return key;
  }

  /** Whether the key of this id is neither revoked nor expired. */
  isGood(id: string): boolean {
    const row = this.#byId.get(id);
    return row !== undefined && isGood(toKey(row));
  }

  /** Whether there has ever been one: a server whose last key is revoked is closed, not open to everybody. */
  any(): boolean {
    return this.#all.get() !== undefined;
  }
}

/** The keys of a state directory that a server may be using. Dispose it. */
export function openKeys(directory: string): KeyStore & Disposable {
  makeStateDirectory(directory);
  return openDatabase(directory, (db) => {
    const keys = new KeyStore(db);
    keys.any();
    return Object.assign(keys, { [Symbol.dispose]: () => db.close() });
  });
}

/** Whether a state directory has keys; makes nothing. Throws an `AppError` where they cannot be read. */
export function hasStoredKeys(directory: string): boolean {
  if (!existsSync(stateFile(directory))) return false;
  using keys = openKeys(directory);
  return keys.any();
}

/** True while neither revoked nor expired. */
export function isGood({ revoked, expires }: StoredKey): boolean {
  return revoked === null && (expires === null || expires > Date.now());
}

/** Throws `invalid_argument` for what no owner can be called. */
export function checkKeyName(name: string): string {
  if (/^[\w.@-]{1,64}$/.test(name) && !/^key_[0-9a-f]{8}$/.test(name)) return name;
  throw new AppError(
    'invalid_argument',
    `NAME: expected 1 to 64 letters, digits or any of . _ @ -, and no key's id, got ${JSON.stringify(name.slice(0, 80))}.`,
  );
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function toKey(row: Record<string, unknown>): StoredKey {
  const { id, name, scopes, templates, users, created, expires, revoked, last_used } = row;
  return {
    id: id as string,
    name: name as string,
    scopes: JSON.parse(scopes as string) as KeyScope[],
    ...(templates !== null && { templates: JSON.parse(templates as string) as string[] }),
    ...(users !== null && { users: users as 'headers' | 'signed' }),
    created: created as number,
    expires: expires as number | null,
    revoked: revoked as number | null,
    lastUsed: last_used as number | null,
  };
}
