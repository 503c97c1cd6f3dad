import type { Container } from '../sandbox/ports/runtime.ts';
import { script } from './exec.ts';

/** A system call by its numbers, with arguments that the kernel takes, or finds fault with, where the call is open. */
export interface SystemCall {
  readonly name: string;
  readonly x64: number;
  readonly arm64: number;
  readonly args?: readonly (number | string)[];
}

const errors: Readonly<Record<string, string>> = {
  '0': 'done',
  '1': 'EPERM',
  '2': 'ENOENT',
  '13': 'EACCES',
  '14': 'EFAULT',
  '17': 'EEXIST',
  '22': 'EINVAL',
  '38': 'ENOSYS',
  '97': 'EAFNOSUPPORT',
};

/** As python and as perl: each line of input is a name and numbers; each line of output a name and an errno, 0 = it worked. */
const python = `
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
arm = os.uname().machine == 'aarch64'
def value(word): return ctypes.c_char_p(word[1:].encode()) if word[0] == '@' else ctypes.c_long(int(word))
for line in sys.argv[1:]:
    name, x64, arm64, *args = line.split(' ')
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(int(arm64 if arm else x64)), *map(value, (args + ['0'] * 6)[:6]))
    print(name, ctypes.get_errno() if result == -1 else 0, flush=True)`;
const perl = `
use POSIX; $| = 1; my $arm = (POSIX::uname())[4] eq "aarch64";
for (@ARGV) {
  my ($name, $x64, $arm64, @words) = split / /;
  my @args = map { /^\\@(.*)/s ? "$1\\0" : 0 + $_ } @words;
  push @args, 0 while @args < 6;
  my $result = syscall($arm ? $arm64 + 0 : $x64 + 0, @args);
  print $name, " ", ($result == -1 ? 0 + $! : 0), "\\n";
}`;

/** Something that must work wherever the caller does. */
const control: SystemCall = { name: 'getpid', x64: 39, arm64: 172 };

/**
 * Makes the calls one after another; by name, the error of each, or `killed` where it ended its process: those after it
 * are made by a new one. `undefined` where the image has neither python3 nor perl.
 */
export async function makeCalls(
  container: Container,
  calls: readonly SystemCall[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string> | undefined> {
  const found = new Map<string, string>();
  for (let left = calls; left.length > 0;) {
    const answers = await makeSome(container, left, signal);
    if (!answers) return undefined;
    for (const [name, answer] of answers) found.set(name, answer);
    const next = left.findIndex(({ name }) => !answers.has(name));
    if (next >= 0) found.set(left[next]!.name, 'killed');
    left = next < 0 ? [] : left.slice(next + 1);
  }
  return found;
}

/** As far as one process gets. */
async function makeSome(
  container: Container,
  calls: readonly SystemCall[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string> | undefined> {
  const text = `
    command -v python3 > /dev/null && exec python3 -c "$1" "\${@:3}"
    command -v perl > /dev/null && exec perl -e "$2" -- "\${@:3}"
    exit 99`;
  const lines = [control, ...calls].map(({ name, x64, arm64, args = [] }) => [name, x64, arm64, ...args].join(' '));
  const { output } = await script(container, text, { args: [python, perl, ...lines], signal });
  const answers = output.split('\n').flatMap((line) => {
    const [, name, number] = /^(\S+) (\d+)$/.exec(line) ?? [];
    return name !== undefined && number !== undefined ? [[name, errors[number] ?? `errno ${number}`] as const] : [];
  });
  const found = new Map(answers);
  return found.get(control.name) === 'done' ? found : undefined;
}
