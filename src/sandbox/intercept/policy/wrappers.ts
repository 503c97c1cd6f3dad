import type { Arg } from './words.ts';

/** How a command that runs another one takes its own options. */
interface WrapperOptions {
  /** Short options without a value. */
  readonly flags?: string;
  /** Short options with a value, attached or as the next word. */
  readonly values?: string;
  /** Short options whose value can only be attached. */
  readonly attached?: string;
  readonly longFlags?: readonly string[];
  readonly longValues?: readonly string[];
  /** Words between the options and the command. */
  readonly positional?: number;
  /** `A=1` words before the command. */
  readonly assignments?: boolean;
  /** `-5` is an option. */
  readonly numeric?: boolean;
}

export const wrappers: Readonly<Record<string, WrapperOptions>> = {
  builtin: {},
  command: { flags: 'p' },
  exec: { flags: 'cl', values: 'a' },
  env: {
    flags: 'i0v',
    values: 'uC',
    longFlags: ['ignore-environment', 'null', 'debug', 'block-signal', 'default-signal', 'ignore-signal'],
    longValues: ['unset', 'chdir'],
    assignments: true,
  },
  xargs: {
    flags: '0rtpxo',
    values: 'InPLsdaE',
    attached: 'ile',
    longFlags: ['null', 'no-run-if-empty', 'verbose', 'interactive', 'exit', 'open-tty', 'show-limits'],
    longValues: ['replace', 'max-args', 'max-procs', 'max-lines', 'max-chars', 'delimiter', 'arg-file', 'eof'],
  },
  sudo: {
    flags: 'AbEHknPSv',
    values: 'CDghpRTuU',
    longFlags: ['preserve-env', 'set-home', 'non-interactive', 'background', 'stdin', 'askpass'],
    longValues: ['user', 'group', 'host', 'chdir', 'chroot', 'prompt', 'close-from', 'command-timeout'],
    assignments: true,
  },
  doas: { flags: 'nL', values: 'Cu' },
  nohup: {},
  setsid: { flags: 'cfw', longFlags: ['ctty', 'fork', 'wait'] },
  timeout: {
    flags: 'fpv',
    values: 'ks',
    longFlags: ['foreground', 'preserve-status', 'verbose'],
    longValues: ['kill-after', 'signal'],
    positional: 1,
  },
  time: {
    flags: 'apqvV',
    values: 'of',
    longFlags: ['append', 'portability', 'quiet', 'verbose'],
    longValues: ['output', 'format'],
  },
  nice: { values: 'n', longValues: ['adjustment'], numeric: true },
  ionice: { flags: 't', values: 'cn', longFlags: ['ignore'], longValues: ['class', 'classdata'] },
  chrt: { flags: 'abdfioRrmv', values: 'DPT', positional: 1 },
  taskset: { flags: 'ac', positional: 1 },
  stdbuf: { values: 'ioe', longValues: ['input', 'output', 'error'] },
  unbuffer: { flags: 'p' },
  strace: { flags: 'cCdfFhiknqrtTvVwxyzZ', values: 'abeEIoOpPsSuUX' },
  busybox: {},
  toybox: {},
};

/** What follows a wrapper's own options: the command it runs, or the word that cannot be read. */
export type Inner = { readonly args: readonly Arg[] } | { readonly doubt: Arg };

/** Skips the wrapper's options as it would itself; an option that is not in its table is a doubt. */
export function innerCommand(args: readonly Arg[], options: WrapperOptions): Inner {
  let at = 0;
  for (let arg = args[at]; arg !== undefined; arg = args[at]) {
    if (arg.value === '--') {
      at += 1;
      break;
    }
    const step = optionWidth(arg, options);
    if (step === undefined) return { doubt: arg };
    if (step === 0) break;
    const value = args[at + 1];
    if (step === 2 && value && !value.single) return { doubt: value };
    at += step;
  }
  const skipped = args.slice(at, at + (options.positional ?? 0));
  const doubt = skipped.find((arg) => !arg.single);
  return doubt ? { doubt } : { args: afterAssignments(args.slice(at + skipped.length), options) };
}

function afterAssignments(args: readonly Arg[], options: WrapperOptions): readonly Arg[] {
  const first = options.assignments ? args.findIndex((arg) => !isAssignment(arg)) : 0;
  return first < 0 ? [] : args.slice(first);
}

export const isAssignment = (arg: Arg): boolean => arg.single && /^[A-Za-z_]\w*=/.test(arg.value ?? arg.text);

/** Words an option takes: 0 when the word is none, `undefined` when it is unknown. */
function optionWidth(arg: Arg, options: WrapperOptions): 0 | 1 | 2 | undefined {
  if (options.assignments && isAssignment(arg)) return 0;
  const { value } = arg;
  if (value === undefined || !value.startsWith('-')) return 0;
  if (value === '-') return options.assignments ? 1 : 0;
  if (options.numeric && /^--?\+?\d+$/.test(value)) return 1;
  return value.startsWith('--') ? longWidth(value.slice(2), options) : shortWidth(value.slice(1), options);
}

function longWidth(option: string, { longFlags = [], longValues = [] }: WrapperOptions): 1 | 2 | undefined {
  const [name = '', attached] = option.split('=', 2);
  if (longValues.includes(name)) return attached === undefined ? 2 : 1;
  return longFlags.includes(name) ? 1 : undefined;
}

function shortWidth(cluster: string, { flags = '', values = '', attached = '' }: WrapperOptions): 1 | 2 | undefined {
  for (const [index, letter] of [...cluster].entries()) {
    if (attached.includes(letter)) return 1;
    if (values.includes(letter)) return index === cluster.length - 1 ? 2 : 1;
    if (!flags.includes(letter)) return undefined;
  }
  return 1;
}
