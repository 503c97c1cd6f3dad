import type { DatabaseSync } from 'node:sqlite';
import { AppError } from '../errors.ts';

/** Version 1. Databases from before there were versions have these tables, or some of them, and call themselves 0. */
const first = `
  CREATE TABLE IF NOT EXISTS instance (id TEXT NOT NULL, secret BLOB NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS sandboxes (
    handle TEXT PRIMARY KEY, principal TEXT NOT NULL, scope_kind TEXT NOT NULL, scope_id TEXT NOT NULL,
    template TEXT NOT NULL, volume TEXT NOT NULL UNIQUE, state TEXT NOT NULL, created INTEGER NOT NULL,
    last_used INTEGER NOT NULL, expires INTEGER, lost TEXT NOT NULL,
    UNIQUE (principal, scope_kind, scope_id)
  ) STRICT;
  CREATE TABLE IF NOT EXISTS commands (
    handle TEXT NOT NULL REFERENCES sandboxes (handle) ON DELETE CASCADE,
    command_id TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (handle, command_id)
  ) STRICT;
  CREATE TABLE IF NOT EXISTS shells (
    handle TEXT PRIMARY KEY REFERENCES sandboxes (handle) ON DELETE CASCADE, snapshot BLOB NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS mcp_sessions (
    id TEXT PRIMARY KEY, principal TEXT NOT NULL, initialize TEXT NOT NULL, last_used INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL UNIQUE, scopes TEXT NOT NULL, templates TEXT,
    users TEXT, created INTEGER NOT NULL, expires INTEGER, revoked INTEGER, last_used INTEGER
  ) STRICT;`;

/** Version 2. Workspaces whose removal has begun: only they may be removed without a sandbox that has them. */
const doomed = 'CREATE TABLE doomed (volume TEXT PRIMARY KEY) STRICT;';

/** Version 3. Ports of sandboxes that can be visited. */
const previews = `
  CREATE TABLE previews (
    label TEXT PRIMARY KEY, handle TEXT NOT NULL REFERENCES sandboxes (handle) ON DELETE CASCADE, port INTEGER NOT NULL,
    access TEXT NOT NULL, host TEXT NOT NULL, expires INTEGER NOT NULL, made_by TEXT
  ) STRICT;`;

/** The step at index N leads from version N to N + 1. A step that was released is never changed. */
const steps: readonly string[] = [first, doomed, previews];

/** The version that this program reads and writes. */
export const stateVersion = steps.length;

/**
 * Brings the database to `stateVersion`, all steps or none. A process that comes at the same time waits for the first
 * one. Throws `unsupported` for a version that only a newer Berth knows, and changes nothing then.
 */
export function migrate(db: DatabaseSync): void {
  if (versionOf(db) === stateVersion) return;
  db.exec('BEGIN IMMEDIATE');
  try {
    // Another process may have done it while this one waited.
    for (const step of steps.slice(knownVersion(db))) db.exec(step);
    db.exec(`PRAGMA user_version = ${stateVersion}; COMMIT;`);
  } catch (error) {
    db.exec('ROLLBACK');
    throw error;
  }
}

/** The database's version. Throws `unsupported` for one that only a newer Berth knows. */
export function knownVersion(db: DatabaseSync): number {
  const version = versionOf(db);
  if (version <= stateVersion) return version;
  throw new AppError(
    'unsupported',
    `server.state_dir: its database has version ${version}, and this Berth knows versions up to ${stateVersion}; start the newer Berth that wrote it, or restore a backup from before the upgrade.`,
  );
}

function versionOf(db: DatabaseSync): number {
  return Number(db.prepare('PRAGMA user_version').get()?.['user_version']);
}
