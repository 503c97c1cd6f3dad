import type { Check } from '../setup/checks.ts';

const marks: Readonly<Record<Check['status'], string>> = { ok: '✓', warn: '!', fail: '✗', untried: '?' };

/** The score card for a person: what was found, and below each finding what it means and what to do. */
export function table(checks: readonly Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const parts = [...Map.groupBy(checks, ({ template }) => template)].map(([template, own]) => {
    const lines = own.flatMap((check) => rows(check, width));
    return [template === undefined ? 'Host' : `Sandboxes of ${template}`, ...lines, ''].join('\n');
  });
  return `${parts.join('\n')}\n${summary(checks)}\n`;
}

function rows({ name, status, detail, meaning, advice }: Check, width: number): string[] {
  const below = [meaning, advice && `→ ${advice}`].filter((line) => line !== undefined && line !== '');
  const indent = ' '.repeat(width + 6);
  return [`  ${marks[status]} ${name.padEnd(width)}  ${oneLine(detail)}`, ...below.map((line) => indent + line)];
}

/** Whatever a hostile sandbox brought into it, it moves no cursor. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ').slice(0, 500);
}

function summary(checks: readonly Check[]): string {
  const count = (status: Check['status']) => checks.filter((check) => check.status === status).length;
  return `${count('ok')} hold, ${count('warn')} warn, ${count('fail')} fail, ${count('untried')} not tried.`;
}
