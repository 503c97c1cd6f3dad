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

/** The shell's first lines: no prompts, no history, and the mark `ready PID KEEPER DIALECT`. */
export function openingLines(nonce: string): string {
  return `${nonce}
 [ -z "$BASH_VERSION" ] || set +H +o history; PS1= PS2= PROMPT_COMMAND=
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

/** The lines for one command, between the marks `begin CHANNEL` and `end CHANNEL CODE JOBS CWD` on both streams. */
export function commandLines(command: CommandText): Buffer {
  const { dialect, nonce, keeper, channel, status } = command;
  const builtin = dialect === 'bash' ? '\\builtin' : '\\command';
  const [out, err] = [`>/proc/${keeper}/fd/1`, `2>/proc/${keeper}/fd/9`];
  const mark = (text: string) => `${builtin} printf '%s${text}\\0' ${nonce}`;
  const onErr = `>/proc/${keeper}/fd/9`;
  const report = `${builtin} printf '%send ${channel} %d ' ${nonce} "$?"; ${builtin} jobs -p; ${builtin} printf '%s\\0' "$PWD"`;
  const before = ` ${mark(`begin ${channel}`)} ${out}; ${mark(`begin ${channel}`)} ${onErr}\n`;
  const carried = status === 0 ? '' : ` (exit ${status})\n`;
  const after = `\n { ${report}; } ${out}; ${mark(`end ${channel}`)} ${onErr}\n`;
  const text = withoutNuls(command.text);
  const given =
    dialect === 'bash'
      ? [` \\. /dev/fd/${textFd} ${err} ${textFd}<<'${nonce}' </dev/null ${out}\n`, text, `\n${nonce}`]
      : [
          ` \\command eval '`,
          Buffer.from(text.toString('latin1').replaceAll("'", "'\\''"), 'latin1'),
          `' </dev/null ${out} ${err}`,
        ];
  return Buffer.concat([before + carried, ...given, after].map((part) => Buffer.from(part as string)));
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
