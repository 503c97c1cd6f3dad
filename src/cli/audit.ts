import { existsSync } from 'node:fs';
import { AppError } from '../errors.ts';
import { verifyAuditFiles } from '../sandbox/audit/audit.ts';
import { UsageError } from './args.mjs';
import { type Invocation, settings } from './invocation.ts';

/** `berth audit verify [FILE]`: checks an audit log with those rotated before it. Exit code 1 when it was changed. */
export async function audit(invocation: Invocation): Promise<number> {
  const [action, given, ...surplus] = invocation.rest;
  if (action !== 'verify' || surplus.length > 0) throw new UsageError('Say what to do: berth audit verify [FILE].');
  const file = given ?? settings(invocation).config.audit.file;
  if (!existsSync(file)) throw new AppError('not_found', `There is no audit log at ${file}.`);
  const verdict = await verifyAuditFiles(file);
  const { lines, first, last, hash, fault } = verdict;
  const good = `${lines} lines, number ${first} to ${last}, none changed or missing between them; the last one's hash is ${hash}.`;
  if (invocation.flags['json']) invocation.out.write(`${JSON.stringify({ ok: !fault, ...verdict }, null, 2)}\n`);
  else invocation.out.write(fault ? `${file}: ${fault} ${lines} lines before it are good.\n` : `${file}: ${good}\n`);
  return fault ? 1 : 0;
}
