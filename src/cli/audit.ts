import { statSync } from 'node:fs';
import { AppError } from '../errors.ts';
import { type AuditVerdict, verifyAuditFiles } from '../sandbox/intercept/audit/audit.ts';
import { UsageError } from './args.mjs';
import { type Invocation, settings } from './invocation.ts';

/** `berth audit verify [FILE]`: checks an audit log with those rotated before it. Exit code 1 when it was changed. */
export async function audit(invocation: Invocation): Promise<number> {
  const [action, given, ...surplus] = invocation.rest;
  if (action !== 'verify' || surplus.length > 0) throw new UsageError('Say what to do: berth audit verify [FILE].');
  const file = given ?? settings(invocation).config.audit.file;
  const verdict = await verify(file);
  const ok = !verdict.fault;
  const text = invocation.flags['json'] ? JSON.stringify({ ok, ...verdict }, null, 2) : `${file}: ${told(verdict)}`;
  invocation.out.write(`${text}\n`);
  return ok ? 0 : 1;
}

function told({ lines, first, last, hash, fault }: AuditVerdict): string {
  if (fault) return `${fault} ${lines} lines before it are good.`;
  if (lines === 0) return 'it holds no lines; there is nothing to check.';
  return `${lines} lines, number ${first} to ${last}, none changed or missing between them; the last one's hash is ${hash}.`;
}

/** Rejects with an `AppError` where there is no file, or none that this user may read. */
async function verify(file: string): Promise<AuditVerdict> {
  try {
    if (!statSync(file).isDirectory()) return await verifyAuditFiles(file);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new AppError('not_found', `There is no audit log at ${file}.`, { cause });
    if (code === undefined) throw cause;
    throw new AppError('invalid_argument', `The audit log ${file} cannot be read (${code}).`, { cause });
  }
  throw new AppError('invalid_argument', `FILE: expected an audit log, got the directory ${file}.`);
}
