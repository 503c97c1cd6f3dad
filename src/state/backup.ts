import { chmodSync, existsSync, linkSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { backup, DatabaseSync } from 'node:sqlite';
import { AppError } from '../errors.ts';
import { stateFile } from '../identity/key-store.ts';
import { knownVersion } from './migrations.ts';
import { holdState, makeStateDirectory, onState } from './directory.ts';

/**
 * Writes a copy of the state's database to a new file that only its owner reads, also while a server uses it. Ready
 * sandboxes are left out: by the time of a restore they may be somebody's. Rejects `conflict` where the file is there.
 */
export async function backUp(directory: string, file: string): Promise<void> {
  if (!existsSync(stateFile(directory)))
    throw new AppError('not_found', `server.state_dir: expected a state to back up, found none in ${directory}.`);
  if (existsSync(file)) throw taken(file);
  const nearby = onState(file, () => mkdtempSync(join(dirname(file), '.berth-backup-')), 'it holds nothing');
  try {
    const copy = join(nearby, basename(file));
    using db = new DatabaseSync(stateFile(directory), { readOnly: true, timeout: 5000 });
    await backup(db, copy);
    tidy(copy);
    publish(copy, file);
  } finally {
    rmSync(nearby, { recursive: true, force: true });
  }
}

/** One file without a journal beside it. */
function tidy(copy: string): void {
  chmodSync(copy, 0o600);
  using db = new DatabaseSync(copy);
  db.exec("PRAGMA journal_mode = DELETE; PRAGMA foreign_keys = ON; DELETE FROM sandboxes WHERE principal = '';");
}

function publish(copy: string, file: string): void {
  try {
    linkSync(copy, file);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') throw taken(file);
    throw cause;
  }
}

const taken = (file: string): AppError =>
  new AppError('conflict', `FILE: expected the name of a new file, got ${file}, which is there already.`);

/**
 * Puts a backup in the place of the state's database. What was there stays beside it; its new path is returned, if there
 * was one. Rejects `conflict` while a server uses the directory, `invalid_argument` for what is no backup.
 */
export async function restore(directory: string, file: string): Promise<string | undefined> {
  checkBackup(file);
  makeStateDirectory(directory);
  using _held = holdState(directory);
  const incoming = `${stateFile(directory)}.restoring`;
  rmSync(incoming, { force: true });
  {
    using db = new DatabaseSync(file, { readOnly: true });
    await backup(db, incoming);
  }
  chmodSync(incoming, 0o600);
  const before = setAside(directory);
  renameSync(incoming, stateFile(directory));
  return before;
}

function checkBackup(file: string): void {
  if (!existsSync(file)) throw new AppError('not_found', `FILE: expected a backup, found nothing at ${file}.`);
  try {
    using db = new DatabaseSync(file, { readOnly: true });
    knownVersion(db);
    if (db.prepare('SELECT id FROM instance').get()) return;
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw noBackup(file, cause);
  }
  throw noBackup(file);
}

const noBackup = (file: string, cause?: unknown): AppError =>
  new AppError('invalid_argument', `FILE: expected a file that berth backup wrote, got ${file}.`, { cause });

/** Moves the database aside, with the journal that belongs to it: beside another one that would be taken for its own. */
function setAside(directory: string): string | undefined {
  if (!existsSync(stateFile(directory))) return undefined;
  const name = basename(stateFile(directory));
  const aside = `${name}.before-${new Date().toISOString().replace(/[^\dT]/g, '')}`;
  for (const one of readdirSync(directory))
    if ([name, `${name}-wal`, `${name}-shm`].includes(one))
      renameSync(join(directory, one), join(directory, aside + one.slice(name.length)));
  return join(directory, aside);
}
