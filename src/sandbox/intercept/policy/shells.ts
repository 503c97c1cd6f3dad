import type { Redirection } from 'unbash';
import { staticValue, type Arg } from './words.ts';

export const shells: ReadonlySet<string> = new Set(['bash', 'sh', 'dash', 'ash', 'zsh', 'ksh', 'mksh', 'rbash']);

/** What a shell would run: a script that can be read, a file (whose content nobody knows), or something unreadable. */
export type ShellSource = { readonly script: string } | { readonly file: Arg } | { readonly doubt: string };

const longFlags = new Set(
  ['norc', 'noprofile', 'posix', 'login', 'restricted', 'verbose', 'noediting', 'help', 'version'].map(
    (name) => `--${name}`,
  ),
);

interface ShellLine {
  readonly rest: readonly Arg[];
  readonly command: boolean;
  readonly stdin: boolean;
}

/** Reads a shell's own command line and, where it takes its script from there, its here-document or here-string. */
export function shellSource(args: readonly Arg[], redirects: readonly Redirection[]): ShellSource {
  const line = shellLine(args);
  if ('doubt' in line) return line;
  const [first] = line.rest;
  if (line.command) return commandSource(first);
  if (first && !line.stdin) return fileSource(first);
  return inputSource(redirects);
}

function shellLine(args: readonly Arg[]): ShellLine | { readonly doubt: string } {
  let command = false;
  let stdin = false;
  let at = 0;
  for (let arg = args[at]; arg?.value !== undefined && /^[-+]/.test(arg.value); arg = args[at]) {
    const option = arg.value;
    at += 1;
    if (option === '-' || option === '--') break;
    if (longFlags.has(option)) continue;
    if (!/^[-+][abefhkmnptuvxBCEHPTcilsroOD]+$/.test(option))
      return { doubt: `its option ${option} is not understood` };
    command ||= option.startsWith('-') && option.includes('c');
    stdin ||= option.startsWith('-') && option.includes('s');
    at += option.replace(/[^oO]/g, '').length;
  }
  return { rest: args.slice(at), command, stdin };
}

function commandSource(script: Arg | undefined): ShellSource {
  return script?.value === undefined ? { doubt: 'its script is not written out' } : { script: script.value };
}

/** A script file's content is the business of whoever allows the shell; a stream's is not. */
export function fileSource(file: Arg): ShellSource {
  if (file.process) return { doubt: 'its script comes from a process substitution' };
  if (file.value !== undefined && /^\/(dev|proc)\/|^-$/.test(file.value.replace(/\/+/g, '/'))) {
    return { doubt: 'its script comes from a stream' };
  }
  if (file.value === undefined && !/^"?[./~]/.test(file.text)) return { doubt: `${file.text} could be an option` };
  return { file };
}

function inputSource(redirects: readonly Redirection[]): ShellSource {
  const input = redirects.findLast(isStdin);
  const unread = { doubt: 'it would read its commands from its input' };
  if (input?.type === 'HereString') {
    const script = input.target && staticValue(input.target);
    return script === undefined ? unread : { script };
  }
  if (input?.type !== 'HereDoc') return unread;
  const written = input.delimiter?.quoted || !/[\\$`]/.test(input.body.text);
  return written ? { script: input.body.text } : unread;
}

function isStdin(redirect: Redirection): boolean {
  if (redirect.descriptor) return redirect.descriptor.type === 'FileDescriptor' && redirect.descriptor.value === 0;
  return redirect.type !== 'Redirect' || redirect.operator.startsWith('<');
}
