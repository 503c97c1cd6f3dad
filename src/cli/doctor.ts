import { type Check } from '../setup/checks.ts';
import { examine } from '../setup/examine.ts';
import { type Invocation, settings } from './invocation.ts';

/** Prints what stands in the way of serving, or of serving safely. Exit code 1 when a check fails. */
export async function doctor(invocation: Invocation): Promise<number> {
  const { config } = settings(invocation);
  const checks = await examine(invocation.env, config);
  const failed = checks.some(({ status }) => status === 'fail');
  const report = invocation.flags['json'] ? JSON.stringify({ ok: !failed, checks }, null, 2) : table(checks);
  invocation.out.write(`${report}\n`);
  return failed ? 1 : 0;
}

const marks: Record<Check['status'], string> = { ok: 'ok  ', warn: 'warn', fail: 'FAIL' };

function table(checks: readonly Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  return checks
    .map(({ name, status, detail, advice }) => {
      const line = `${marks[status]}  ${name.padEnd(width)}  ${detail}`;
      return advice ? `${line}\n${' '.repeat(width + 8)}→ ${advice}` : line;
    })
    .join('\n');
}
