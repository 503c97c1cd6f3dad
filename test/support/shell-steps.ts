import assert from 'node:assert/strict';
import type { ShellStep } from '../contract/shell-cases.ts';
import type { RawSession } from './raw.ts';

/** A step of a shell's case as a client asks for it and sees its result. */

const [head, tail] = [16_384, 32_768];

type Fields = Record<string, unknown>;

/** The bytes behind a field, in latin1: `\xNN` and `\\` stand for a byte where the encoding says so. */
function bytesOf(fields: Fields, name: 'stdout' | 'stderr'): string {
  const text = String(fields[name]);
  const plain = fields[`${name}_encoding`] === 'utf-8';
  const unescaped = text.replace(/\\x([0-9a-f]{2})|\\\\/g, (_, hex?: string) => (hex ? `\u{f0000}${hex}` : '\\'));
  const bytes = Buffer.from(plain ? text : unescaped);
  if (plain) return bytes.toString('latin1');
  return bytes
    .toString()
    .replace(/\u{f0000}(..)|[^]/gu, (found, hex?: string) =>
      hex ? String.fromCharCode(Number.parseInt(hex, 16)) : Buffer.from(found).toString('latin1'),
    );
}

function latin1(bytes: string | Uint8Array | undefined): string {
  return Buffer.from(bytes ?? '').toString('latin1');
}

/** Head, the line that counts what is left out, tail. */
function expectedOut({ out, omitted }: ShellStep): string {
  const text = latin1(out);
  if (!omitted) return text;
  const line = latin1(`[… ${omitted.toLocaleString('en-US')} bytes omitted …]`);
  return `${text.slice(0, head)}\n${line}\n${text.slice(-tail)}`;
}

export function expected(step: ShellStep): Fields {
  const code = step.code === undefined ? 0 : step.code;
  return {
    isError: false,
    status: step.status ?? (code === 0 ? 'success' : 'error'),
    exit_code: code,
    stdout: step.omitted === -1 ? 'omitted' : expectedOut(step),
    stderr: latin1(step.err),
    command: shownCommand(step.run),
    shell_restarted: step.restarted ?? false,
    background: step.background ?? false,
    truncated: step.omitted !== undefined,
    cwd: step.cwd,
  };
}

/** A long command comes back by its beginning. */
function shownCommand(text: string): string {
  return text.length <= 200
    ? text
    : `${text.slice(0, 200)}… (${text.length.toLocaleString('en-US')} characters in all)`;
}

/** The step's list where it holds the code. */
function listed({ code }: ShellStep, seen: unknown): unknown {
  return Array.isArray(code) && code.includes(seen) ? code : seen;
}

export async function seen(session: RawSession, step: ShellStep): Promise<Fields> {
  const { result, error } = await session.call('execute_command', {
    command: step.run,
    timeout: step.timeout ?? 20,
    raw: true,
  });
  assert.equal(error, undefined);
  const fields = result?.structuredContent ?? {};
  return {
    isError: result?.isError ?? false,
    status: fields['status'],
    exit_code: listed(step, fields['exit_code']),
    stdout: step.omitted === -1 ? 'omitted' : bytesOf(fields, 'stdout'),
    stderr: bytesOf(fields, 'stderr'),
    command: fields['command'],
    shell_restarted: fields['shell_restarted'] ?? false,
    background: fields['background'] ?? false,
    truncated: fields['truncated'],
    cwd: step.cwd === undefined ? undefined : fields['cwd'],
  };
}
