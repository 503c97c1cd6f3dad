/** How the shell of an image is spoken to: bash as the session host would, any other as far as POSIX goes. */
export type Dialect = 'bash' | 'sh';

/** The descriptor on which bash finds a command's text; one that nobody opens by hand. */
const textFd = 211;
const textName = Buffer.from(`bash: /dev/fd/${textFd}: line `);

/**
 * The process above the shell, which holds the streams that commands write to and reports the shell's end. Its first
 * line of input is the nonce, so that no command line and no environment shows it. Commands
 * write to its descriptors 1 and 9; its own messages on the shell's end (`Killed`) go nowhere.
 */
export const keeperScript = `
read -r nonce
mkdir -p -- "$2" 2>/dev/null; cd -- "$2" 2>/dev/null || cd /workspace || cd /
[ -x "$1" ] && set -- "$1" --noprofile --norc --noediting || set -- /bin/sh
exec 9>&2 2>/dev/null
(exec "$@" -i >/dev/null 2>&1 9>&-)
code=$?
printf '%sdied %d\\0' "$nonce" "$code"; printf '%sdied\\0' "$nonce" >&9`;

/** What a command has for an editor, which would wait for keys that nobody types: it says why it fails. */
const noEditor =
  "echo 'No terminal here, so no editor: give the text as an argument (git: -m, --no-edit or GIT_EDITOR=true), or use a terminal session.' >&2; false";

/** The shell's first lines: no prompts, no history, no editor, and the mark `ready PID KEEPER DIALECT`. */
export function openingLines(nonce: string): string {
  return `${nonce}
 [ -z "$BASH_VERSION" ] || set +H +o history; [ -z "$BASH_VERSION" ] || history -c; PS1= PS2= PROMPT_COMMAND=
 export EDITOR="${noEditor}" PAGER=cat; export GIT_EDITOR="$EDITOR" VISUAL="$EDITOR"
 printf '%sready %d %d %s\\0' ${nonce} "$$" "$PPID" "\${BASH_VERSION:+bash}" >/proc/$PPID/fd/1
`;
}

export interface CommandText {
  readonly dialect: Dialect;
  readonly nonce: string;
  /** The process that holds the streams. */
  readonly keeper: number;
  readonly channel: number;
  /** What `$?` is at the start. */
  readonly status: number;
  readonly text: Buffer;
}

/** The line that starts a command, between the lines for the marks `begin CHANNEL` on both streams and `reportLine`. */
export function commandLines(command: CommandText): Buffer {
  const { channel, status } = command;
  const { mark, out, err } = parts(command);
  const before = ` ${mark(`begin ${channel}`)} >${out}; ${mark(`begin ${channel}`)} >${err}\n`;
  const carried = status === 0 ? '' : ` (exit ${status})\n`;
  return Buffer.concat([Buffer.from(before + carried), textLines(command), Buffer.from(reportLine(command))]);
}

/**
 * The marks `end CHANNEL CODE JOBS CWD` on stdout, jobs a line each, and `end CHANNEL` on stderr. Each builtin has its
 * own redirection: a DEBUG trap runs before it, and would write into the mark from inside a group that has one.
 */
export function reportLine(command: CommandText): string {
  const { builtin, mark, out, err } = parts(command);
  const code = `${builtin} printf '%send ${command.channel} %d ' ${command.nonce} "$?" >${out}`;
  const rest = `${builtin} jobs -p >${out}; ${builtin} printf '%s\\0' "$PWD" >${out}`;
  return `\n ${code}; ${rest}; ${mark(`end ${command.channel}`)} >${err}\n`;
}

/** A file for bash, which keeps its line numbers and lets it return; a quoted word for other shells. */
function textLines(command: CommandText): Buffer {
  const { out, err } = parts(command);
  const text = withoutNuls(command.text).toString('latin1');
  const bash = ` \\. /dev/fd/${textFd} 2>${err} ${textFd}<<'${command.nonce}' </dev/null >${out}\n${text}${text.endsWith('\n') ? '' : '\n'}${command.nonce}`;
  const sh = ` \\command eval '${text.replaceAll("'", "'\\''")}' </dev/null >${out} 2>${err}`;
  return Buffer.from(command.dialect === 'bash' ? bash : sh, 'latin1');
}

function parts({ dialect, nonce, keeper }: CommandText) {
  const builtin = dialect === 'bash' ? '\\builtin' : '\\command';
  const mark = (text: string) => `${builtin} printf '%s${text}\\0' ${nonce}`;
  return { builtin, mark, out: `/proc/${keeper}/fd/1`, err: `/proc/${keeper}/fd/9` };
}

/** bash's messages without the name of the file that a command's text came in. */
export function withoutTextName(bytes: Buffer): Buffer {
  if (!bytes.includes(textName)) return bytes;
  return Buffer.from(bytes.toString('latin1').replaceAll(textName.toString(), 'bash: line '), 'latin1');
}

/** No shell takes them, and one would end the text's line for some. */
function withoutNuls(text: Buffer): Buffer {
  return text.includes(0) ? Buffer.from(text.filter((byte) => byte !== 0)) : text;
}
