import { backUp, restore } from '../state/backup.ts';
import { UsageError } from './args.mjs';
import { type Invocation, settings } from './invocation.ts';

/** `berth backup FILE`: copies the state's database, also while the server runs. */
export async function backupState(invocation: Invocation): Promise<number> {
  const file = onlyFile('backup', invocation);
  await backUp(settings(invocation).config.server.state_dir, file);
  invocation.err.write(`The state is in ${file}. It holds secrets: keep it as safe as the state directory.\n`);
  return 0;
}

/** `berth restore FILE`: puts a backup in the state's place; the server must not run. */
export async function restoreState(invocation: Invocation): Promise<number> {
  const file = onlyFile('restore', invocation);
  const before = await restore(settings(invocation).config.server.state_dir, file);
  invocation.err.write(before ? `Restored. What was there before is ${before}.\n` : 'Restored.\n');
  return 0;
}

function onlyFile(command: string, { rest }: Invocation): string {
  const [file, ...surplus] = rest;
  if (file && surplus.length === 0) return file;
  throw new UsageError(`berth ${command} takes one file: berth ${command} FILE.`);
}
