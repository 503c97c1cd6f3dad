/**
 * What a shell that nobody can break does, as data: each case runs in a fresh sandbox, its steps one after another in
 * one shell. Expected bytes are written out.
 */
export interface ShellStep {
  readonly run: string;
  /** All of stdout, or what is shown of it where `omitted` says that bytes are left out. */
  readonly out?: string | Uint8Array;
  readonly err?: string | Uint8Array;
  /** A list where more than one is right: which signal ends a program is a matter of its speed. */
  readonly code?: number | null | readonly number[];
  readonly status?: 'timeout' | 'running' | 'cancelled';
  /** The shell was started again. */
  readonly restarted?: boolean;
  /** Processes of the command still hold its output. */
  readonly background?: boolean;
  readonly cwd?: string;
  /** Bytes of stdout that are not shown. */
  readonly omitted?: number;
  /** Seconds. */
  readonly timeout?: number;
  /** Seconds before the step, for what goes on in the background. */
  readonly after?: number;
}

export interface ShellCase {
  readonly name: string;
  readonly steps: readonly ShellStep[];
  /** It holds with a session host in the sandbox, not over plain execs. */
  readonly needsHost?: true;
}

type StepOptions = Omit<ShellStep, 'run' | 'out'>;

/** A step that succeeds with this stdout and an empty stderr unless `more` says otherwise. */
function $(run: string, out: string | Uint8Array = '', more: StepOptions = {}): ShellStep {
  return { run, out, ...more };
}

/** A step that fails with this code and stderr. */
function fails(
  run: string,
  code: number | readonly number[],
  err: string | Uint8Array = '',
  more: Omit<ShellStep, 'run' | 'code'> = {},
): ShellStep {
  return { run, code, err, ...more };
}

/** The shell works and its streams are its own. */
const ok = $('echo ok', 'ok\n');
const okErr = { run: 'echo e >&2', err: 'e\n' };

function hex(text: string): Uint8Array {
  return Buffer.from(text.replaceAll(' ', ''), 'hex');
}

const lines = (count: number, line: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => line(index)).join('');

const basics: ShellCase[] = [
  { name: 'echo', steps: [$('echo hi', 'hi\n')] },
  { name: 'stdout and stderr apart', steps: [{ run: 'echo o; echo e >&2; echo p', out: 'o\np\n', err: 'e\n' }] },
  { name: 'no newline is added', steps: [$('printf abc', 'abc'), $('printf abc', 'abc')] },
  { name: 'stderr without a newline', steps: [{ run: 'printf x >&2', err: 'x' }, ok] },
  { name: 'spaces only', steps: [$('   '), ok] },
  { name: 'newlines only', steps: [$('\n\n\n'), ok] },
  { name: 'a comment only', steps: [$('# nothing to do'), ok] },
  { name: 'a comment at the end hides nothing', steps: [$('echo a # b', 'a\n'), ok] },
  { name: 'exit code of a subshell', steps: [fails('(exit 255)', 255), fails('(exit 1)', 1), ok] },
  { name: 'true and false', steps: [$('true'), fails('false', 1)] },
  { name: 'exit code 0 after a failure', steps: [fails('false', 1), $('true')] },
  {
    name: 'a killed child is 128 + n',
    steps: [fails("sh -c 'kill -9 $$'", 137, ''), fails("sh -c 'kill -TERM $$'", 143, '')],
  },
  {
    name: 'a command that is not found',
    steps: [fails('no-such-program', 127, 'bash: no-such-program: command not found\n')],
  },
  {
    name: 'a command that is not executable',
    steps: [$('echo x >plain'), fails('./plain', 126, 'bash: ./plain: Permission denied\n')],
  },
  { name: 'a directory as a command', steps: [fails('/tmp', 126, 'bash: /tmp: Is a directory\n')] },
  { name: 'a file that is not there', steps: [fails('cat nope', 1, 'cat: nope: No such file or directory\n')] },
  { name: 'the last command decides', steps: [$('false; true'), fails('true; false', 1)] },
  { name: 'pipefail is off, as in bash', steps: [$('false | true'), fails('set -o pipefail; false | true', 1)] },
  { name: 'PIPESTATUS', steps: [$('false | (exit 3) | true; echo ${PIPESTATUS[@]}', '1 3 0\n')] },
  { name: 'if over several lines', steps: [$('if true\nthen\n  echo yes\nelse\n  echo no\nfi', 'yes\n')] },
  { name: 'a loop', steps: [$('for i in 1 2 3; do\necho $i\ndone', '1\n2\n3\n')] },
  { name: 'case', steps: [$('case abc in a*) echo a;; *) echo other;; esac', 'a\n')] },
  { name: 'a continued line', steps: [$('echo a \\\n  b', 'a b\n')] },
  {
    name: 'CRLF in a script is what bash makes of it',
    steps: [fails('true\r\n', 127, "bash: $'true\\r': command not found\n"), ok],
  },
  { name: 'a script without a last newline', steps: [$('echo a\necho b', 'a\nb\n')] },
  {
    name: 'a quoted heredoc is verbatim',
    steps: [$("cat <<'EOF'\n$HOME `id` $(id)\t\\n \"q\" 'q'\nEOF", '$HOME `id` $(id)\t\\n "q" \'q\'\n')],
  },
  { name: 'a heredoc that expands', steps: [$('x=1; cat <<EOF\n$x $((x+1))\nEOF', '1 2\n')] },
  { name: 'a heredoc with tabs', steps: [$('cat <<-EOF\n\ta\n\t\tb\n\tEOF', 'a\nb\n')] },
  { name: 'two heredocs', steps: [$('cat <<A; cat <<B\na\nA\nb\nB', 'a\nb\n')] },
  { name: 'a history without lines that nobody wrote', steps: [$('history')] },
  {
    name: 'an editor is asked for where there is no terminal',
    steps: [
      $('cd /tmp && git init -q e && cd e && git config user.name u && git config user.email u@example.org'),
      {
        run: 'git commit --allow-empty 2>../said; code=$?; head -1 ../said; echo $code',
        out: 'No terminal here, so no editor: give the text as an argument (git: -m, --no-edit or GIT_EDITOR=true), or use a terminal session.\n1\n',
        timeout: 5,
      },
      $('git commit -qm one --allow-empty; git log --format=%s', 'one\n'),
      $('export GIT_EDITOR=true; git commit -q --amend --allow-empty; git log --format=%s', 'one\n'),
    ],
  },
  { name: 'no history expansion', steps: [$("echo '!!'", '!!\n'), $('echo "a!b" !x', 'a!b !x\n')] },
  { name: 'single quotes in double quotes', steps: [$(`echo "it's" 'a "b"'`, 'it\'s a "b"\n')] },
  { name: 'process substitution', steps: [$('diff <(echo a) <(echo a) && echo same', 'same\n')] },
  { name: 'arithmetic', steps: [$('echo $((6*7)) $((2**10))', '42 1024\n')] },
  { name: 'brace expansion', steps: [$('echo {a,b}{1..3}', 'a1 a2 a3 b1 b2 b3\n')] },
  { name: 'a glob without a match', steps: [$('echo *.none', '*.none\n')] },
  { name: 'nested command substitution', steps: [$('echo $(echo $(echo deep))', 'deep\n')] },
  {
    name: 'the shell is bash, interactive options aside',
    needsHost: true,
    steps: [$('echo $0 ${BASH_VERSION%%.*}', 'bash 5\n')],
  },
  { name: 'the user is 1000', steps: [$('id -u; id -g', '1000\n1000\n')] },
  { name: 'starts in the workspace', steps: [$('pwd; echo $HOME', '/workspace\n/workspace\n', { cwd: '/workspace' })] },
];

const syntax: ShellCase[] = [
  {
    name: 'an open double quote is an error',
    steps: [fails('echo "oops', 2, 'bash: line 1: unexpected EOF while looking for matching `"\'\n'), ok],
  },
  {
    name: 'an open single quote is an error',
    steps: [fails("echo 'oops\nmore", 2, "bash: line 1: unexpected EOF while looking for matching `''\n"), ok],
  },
  {
    name: 'an open backquote is an error',
    steps: [fails('echo `date', 2, "bash: line 1: unexpected EOF while looking for matching ``'\n"), ok],
  },
  {
    name: 'an unfinished if is an error',
    steps: [fails('if true; then echo x', 2, 'bash: line 2: syntax error: unexpected end of file\n'), ok],
  },
  {
    name: 'an unfinished heredoc ends',
    steps: [
      {
        run: 'cat <<EOF\nunfinished',
        out: 'unfinished\n',
        err: "bash: warning: here-document at line 1 delimited by end-of-file (wanted `EOF')\n",
      },
      ok,
    ],
  },
  {
    name: 'an unfinished heredoc gets no newline more than it has',
    steps: [
      {
        run: 'cat <<EOF\nunfinished\n',
        out: 'unfinished\n',
        err: "bash: warning: here-document at line 1 delimited by end-of-file (wanted `EOF')\n",
      },
      $('echo a \\\n', 'a\n'),
      $('echo b\n\n', 'b\n'),
      ok,
    ],
  },
  {
    name: 'a stray brace is an error',
    steps: [fails('}', 2, "bash: line 1: syntax error near unexpected token `}'\nbash: line 1: `}'\n"), ok],
  },
  {
    name: 'a stray parenthesis is an error',
    steps: [fails('echo a)', 2, "bash: line 1: syntax error near unexpected token `)'\nbash: line 1: `echo a)'\n"), ok],
  },
  {
    name: 'an error in a later line lets the ones before run',
    steps: [
      {
        run: 'echo one\necho two\nfi\necho four',
        out: 'one\ntwo\n',
        err: "bash: line 3: syntax error near unexpected token `fi'\nbash: line 3: `fi'\n",
        code: 2,
      },
      ok,
    ],
  },
  {
    name: 'an open brace is an error',
    steps: [fails('{ echo a', 2, 'bash: line 2: syntax error: unexpected end of file\n'), ok],
  },
  {
    name: 'an open $( is an error',
    steps: [fails('echo $(echo a', 2, "bash: line 2: unexpected EOF while looking for matching `)'\n"), ok],
  },
];

const state: ShellCase[] = [
  {
    name: 'the directory',
    steps: [$('mkdir -p a/b; cd a/b', '', { cwd: '/workspace/a/b' }), $('pwd', '/workspace/a/b\n')],
  },
  { name: 'cd -', steps: [$('cd /tmp'), $('cd /'), $('cd -', '/tmp\n', { cwd: '/tmp' })] },
  {
    name: 'a directory with odd characters',
    steps: [
      $("mkdir $'a b\\'\"$x'; cd $'a b\\'\"$x'", '', { cwd: '/workspace/a b\'"$x' }),
      $('pwd', '/workspace/a b\'"$x\n'),
    ],
  },
  {
    name: 'a directory that is UTF-8',
    steps: [$('mkdir wörk; cd wörk; pwd', '/workspace/wörk\n', { cwd: '/workspace/wörk' })],
  },
  { name: 'a variable', steps: [$('x=5'), $('echo $x', '5\n')] },
  { name: 'an exported variable', steps: [$('export FOO=bar'), $("sh -c 'echo $FOO'", 'bar\n')] },
  { name: 'a variable with a newline', steps: [$("v=$'a\\nb'"), $('echo "$v"', 'a\nb\n')] },
  { name: 'an array', steps: [$('a=(x "y z" w)'), $('echo ${#a[@]} "${a[1]}"', '3 y z\n')] },
  { name: 'an associative array', steps: [$('declare -A m=([k]=v [q]=w)'), $('echo ${m[k]}${m[q]}', 'vw\n')] },
  {
    name: 'a function',
    steps: [$('greet() { echo "hi $1"; return 4; }'), { run: 'greet you', out: 'hi you\n', code: 4 }],
  },
  { name: 'an alias', steps: [$("alias greet='echo hello'"), $('greet you', 'hello you\n')] },
  { name: 'a readonly variable', steps: [$('readonly r=1'), fails('r=2', 1, 'bash: r: readonly variable\n'), ok] },
  { name: 'umask', steps: [$('umask 077'), $('touch f; stat -c %a f', '600\n')] },
  { name: 'nullglob', steps: [$('shopt -s nullglob'), $('echo *.none end', 'end\n')] },
  {
    name: 'noclobber',
    steps: [$('set -C; echo a >f'), fails('echo b >f', 1, 'bash: f: cannot overwrite existing file\n')],
  },
  { name: 'globstar', steps: [$('shopt -s globstar; mkdir -p a/b; touch a/b/f'), $('echo **/f', 'a/b/f\n')] },
  { name: '$? of the call before', steps: [fails('(exit 7)', 7), $('echo $?', '7\n'), $('echo $?', '0\n')] },
  { name: '$? of a failed line', steps: [fails('false', 1), $('echo $?', '1\n')] },
  { name: '$_ and $- do not hang', steps: [$('echo a >/dev/null; : $- $_'), ok] },
  { name: 'a trap fires later', steps: [$("trap 'echo got' USR1"), $('kill -USR1 $$; sleep 0.1', 'got\n')] },
  { name: 'positional parameters', steps: [$('set -- a b c'), $('echo $# $2', '3 b\n')] },
  { name: 'the process id stays', steps: [$('p=$$'), $('[ $p = $$ ] && echo same', 'same\n')] },
  { name: 'open descriptors', steps: [$('exec 7>log; echo a >&7'), $('echo b >&7; exec 7>&-; cat log', 'a\nb\n')] },
  {
    name: 'a coprocess',
    steps: [
      { run: 'coproc cat', background: true },
      $('echo x >&${COPROC[1]}; read -r l <&${COPROC[0]}; echo $l', 'x\n'),
    ],
  },
  { name: 'hash and type', steps: [$('type -t cd ls if', 'builtin\nfile\nkeyword\n')] },
  { name: 'a sourced file', steps: [$('echo "y=9" >env.sh'), $('. ./env.sh'), $('echo $y', '9\n')] },
  {
    name: 'a virtual environment',
    steps: [
      $('python3 -m venv --without-pip v && . v/bin/activate', '', { timeout: 60 }),
      $('python3 -c "import sys; print(sys.prefix)"; echo $VIRTUAL_ENV', '/workspace/v\n/workspace/v\n'),
      $('deactivate; python3 -c "import sys; print(sys.prefix)"', '/usr\n'),
    ],
  },
  {
    name: 'pushd and popd',
    steps: [$('pushd /tmp', '/tmp ~\n'), $('popd', '~\n', { cwd: '/workspace' })],
  },
  { name: 'local options of a function', steps: [$('f() { local -; set -f; }; f; echo /et[c]', '/etc\n')] },
];

const death: ShellCase[] = [
  { name: 'exit', steps: [$('exit', '', { restarted: true }), ok] },
  {
    name: 'exit 3',
    steps: [$('cd /tmp'), fails('exit 3', 3, '', { restarted: true, cwd: '/tmp' }), $('pwd', '/tmp\n')],
  },
  {
    name: 'output before exit',
    steps: [{ run: 'echo a; echo b >&2; exit 4', out: 'a\n', err: 'b\n', code: 4, restarted: true }, ok],
  },
  { name: 'set -e', steps: [fails('set -e; false; echo never', 1, '', { restarted: true }), ok, okErr] },
  {
    name: 'set -u',
    steps: [fails('set -u; echo $nope; echo no', 1, 'bash: nope: unbound variable\n'), $('set +u; echo ok', 'ok\n')],
  },
  { name: '${x?} stops the call', steps: [fails('echo ${x?gone}; echo no', 1, 'bash: x: gone\n'), ok] },
  { name: 'exec', steps: [{ run: "exec sh -c 'echo E; exit 5'", out: 'E\n', code: 5, restarted: true }, ok] },
  {
    name: 'exec of what is not there',
    steps: [fails('exec no-such', 127, 'bash: exec: no-such: not found\n', { restarted: true }), ok],
  },
  { name: 'exec >file ends with the call', steps: [$('exec >f; echo in'), ok, $('cat f', 'in\n')] },
  { name: 'exec 2>file ends with the call', steps: [$('exec 2>f; echo in >&2'), okErr] },
  { name: 'stdout closed', steps: [$('exec >&-'), ok] },
  { name: 'kill -9 $$', steps: [fails('kill -9 $$', 137, '', { restarted: true }), ok] },
  { name: 'kill -TERM $$ is ignored by an interactive shell', steps: [$('kill -TERM $$; echo here', 'here\n'), ok] },
  { name: 'kill -HUP $$', steps: [fails('kill -HUP $$; sleep 1', 129, '', { restarted: true }), ok] },
  { name: 'kill -SEGV $$', steps: [fails('kill -SEGV $$; sleep 1', 139, '', { restarted: true }), ok] },
  {
    name: 'kill -STOP and CONT',
    steps: [$('(sleep 0.2; kill -CONT $$) & kill -STOP $$; wait; echo here', 'here\n'), ok],
  },
  {
    name: 'variables and functions come back',
    needsHost: true,
    steps: [
      $(
        'x=1; export E=2; f() { echo f; }; a=(p q); declare -A m=([k]=v); alias g="echo g"; shopt -s nullglob; umask 027; cd /tmp',
      ),
      fails('exit 9', 9, '', { restarted: true, cwd: '/tmp' }),
      $(
        'echo $x ${a[1]} ${m[k]}; printenv E; f; g; umask; shopt nullglob; pwd',
        '1 q v\n2\nf\ng\n0027\nnullglob       \ton\n/tmp\n',
      ),
    ],
  },
  {
    name: 'a variable that is too large to be kept costs the others nothing',
    needsHost: true,
    steps: [
      $("A=1; B=$(head -c 1200000 /dev/zero | tr '\\0' b); C=$'3\\n'; d=(4 \"$B\"); alias g='echo g'; f() { echo f; }"),
      fails('exit 5', 5, '', { restarted: true }),
      $('echo $A ${#B} "$C" ${#d[@]}; g; f', '1 0 3\n 0\ng\nf\n'),
    ],
  },
  {
    name: 'errexit does not come back',
    steps: [fails('set -e; false', 1, '', { restarted: true }), $('false; echo on', 'on\n')],
  },
  {
    name: 'an EXIT trap runs at the end',
    steps: [{ run: "trap 'echo bye' EXIT; exit 2", out: 'bye\n', code: 2, restarted: true }, ok],
  },
  {
    name: 'a shell that dies between calls',
    steps: [
      // The pause lets the subshell get to its redirections, before which it holds the command's pipes.
      $('(sleep 1; kill -9 $$) >/dev/null 2>&1 & sleep 0.3'),
      $('echo ok', 'ok\n', { after: 1.5, restarted: true }),
      ok,
    ],
  },
  {
    name: 'dying twice',
    steps: [fails('exit 1', 1, '', { restarted: true }), fails('exit 2', 2, '', { restarted: true }), ok],
  },
  { name: 'logout', steps: [fails('logout', 1, "bash: logout: not login shell: use `exit'\n"), ok] },
  { name: 'exit in a subshell is none of the shell', steps: [fails('(exit 3)', 3), fails('bash -c "exit 4"', 4), ok] },
  { name: 'return at the top', steps: [fails('echo a; return 6; echo b', 6, '', { out: 'a\n' }), ok] },
  {
    name: 'break at the top',
    steps: [
      { run: 'break; echo a', out: 'a\n', err: "bash: break: only meaningful in a `for', `while', or `until' loop\n" },
      ok,
    ],
  },
];

const input: ShellCase[] = [
  { name: 'read', steps: [fails('read x', 1), ok] },
  { name: 'cat without a file', steps: [$('cat'), ok] },
  { name: 'the next command is not read by this one', steps: [$('cat; echo a', 'a\n'), $('cat >/dev/null'), ok] },
  { name: 'bash -s', steps: [$('bash -s'), ok] },
  { name: 'ssh-like stdin eaters', steps: [$('while read l; do echo $l; done', ''), ok] },
  {
    name: 'python input()',
    steps: [
      fails(
        'python3 -c "input()"',
        1,
        'Traceback (most recent call last):\n  File "<string>", line 1, in <module>\nEOFError: EOF when reading a line\n',
      ),
    ],
  },
  { name: '/dev/tty', steps: [fails('echo x >/dev/tty', 1, 'bash: /dev/tty: No such device or address\n'), ok] },
  {
    name: 'no terminal',
    steps: [fails('test -t 0 || test -t 1 || test -t 2', 1), $('tty', 'not a tty\n', { code: 1 })],
  },
  { name: 'stty', steps: [fails('stty raw', 1, "stty: 'standard input': Inappropriate ioctl for device\n"), ok] },
  { name: 'a here string', steps: [$('cat <<<"a b"', 'a b\n')] },
  { name: 'a pipe into read', steps: [$('echo v | (read x; echo got $x)', 'got v\n')] },
];

const bytes: ShellCase[] = [
  { name: 'carriage returns', steps: [$("printf 'a\\r\\nb\\r'", 'a\r\nb\r')] },
  { name: 'NUL, control and invalid bytes', steps: [$("printf '\\0\\1\\377\\xfe'", hex('00 01 ff fe'))] },
  {
    name: 'all 256 bytes',
    steps: [
      $(
        "python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(256)))'",
        Uint8Array.from({ length: 256 }, (_, index) => index),
      ),
    ],
  },
  { name: 'invalid bytes on stderr', steps: [{ run: "printf '\\200\\201' >&2", err: hex('80 81') }] },
  { name: 'UTF-8', steps: [$("echo 'é 😀 你好 ﷽'", 'é 😀 你好 ﷽\n')] },
  {
    name: 'UTF-8 written byte by byte',
    steps: [$("for b in 'f0' '9f' '98' '80'; do printf \"\\\\x$b\"; sleep 0.02; done", '😀')],
  },
  { name: 'terminal escapes', steps: [$("printf '\\033[31mred\\033[0m\\n'", '\x1b[31mred\x1b[0m\n')] },
  { name: 'a line of 10,000 characters', steps: [$('printf %010000d 0', '0'.repeat(10_000))] },
  { name: 'a command line of 5,000 bytes', steps: [$(`echo ${'x'.repeat(5000)}`, `${'x'.repeat(5000)}\n`)] },
  {
    name: 'a heredoc of 200 KB',
    steps: [$(`wc -c <<'EOF'\n${lines(2000, () => `${'y'.repeat(99)}\n`)}EOF`, '200000\n')],
  },
  { name: 'a command of 900 KB', steps: [$(`: ${'z'.repeat(900_000)}; echo end`, 'end\n')] },
  {
    name: '4,000 lines',
    steps: [
      $(
        'seq 4000',
        lines(4000, (index) => `${index + 1}\n`),
      ),
    ],
  },
  {
    name: 'a long output shows its head and its tail',
    steps: [
      $('head -c 65536 /dev/zero | tr "\\0" a; printf END', 'a'.repeat(16_384) + 'a'.repeat(32_765) + 'END', {
        omitted: 16_387,
      }),
    ],
  },
  {
    name: 'exactly as much as is shown',
    steps: [
      $('head -c 49152 /dev/zero | tr "\\0" a', 'a'.repeat(49_152)),
      $('head -c 49153 /dev/zero | tr "\\0" a', 'a'.repeat(49_152), { omitted: 1 }),
    ],
  },
  {
    name: '100 MB',
    steps: [
      $('head -c 100000000 /dev/zero | tr "\\0" b', 'b'.repeat(49_152), { omitted: 100_000_000 - 49_152, timeout: 60 }),
      ok,
    ],
  },
  {
    name: 'much on both streams at once',
    steps: [
      {
        run: 'head -c 40000 /dev/zero | tr "\\0" o & head -c 40000 /dev/zero | tr "\\0" e >&2; wait',
        out: 'o'.repeat(40_000),
        err: 'e'.repeat(40_000),
      },
    ],
  },
  { name: 'one byte at a time', steps: [$('for i in {1..300}; do printf .; done', '.'.repeat(300))] },
  { name: 'output after a pipe breaks', steps: [$('yes | head -n 2', 'y\ny\n'), ok] },
];

const forging: ShellCase[] = [
  {
    name: 'fake markers',
    steps: [{ run: "printf '\\0DONE 0\\0 0 /\\n__END__0\\n'; false", out: '\0DONE 0\0 0 /\n__END__0\n', code: 1 }, ok],
  },
  { name: 'OSC 133', steps: [{ run: "printf '\\033]133;D;0\\007'; false", out: '\x1b]133;D;0\x07', code: 1 }, ok] },
  {
    name: 'fake JSON',
    steps: [
      { run: `echo '{"exit_code":0,"status":"success"}'; false`, out: '{"exit_code":0,"status":"success"}\n', code: 1 },
      ok,
    ],
  },
  {
    name: 'a fake status line',
    steps: [
      { run: "echo '[exit 0 · 0.05 s · /workspace]'; (exit 9)", out: '[exit 0 · 0.05 s · /workspace]\n', code: 9 },
    ],
  },
  {
    name: 'fake frames',
    steps: [{ run: "printf '\\0\\0\\0\\1\\204'; false", out: hex('00 00 00 01 84'), code: 1 }, ok],
  },
  {
    name: "bash's own words on stderr",
    steps: [
      {
        run: "echo 'bash: ((: 1 + 0 / 0 , 1 / 1 : division by 0' >&2; false",
        err: 'bash: ((: 1 + 0 / 0 , 1 / 1 : division by 0\n',
        code: 1,
      },
      ok,
    ],
  },
];

const background: ShellCase[] = [
  { name: 'a background job does not hold the call', steps: [$('sleep 30 & echo s', 's\n', { background: true }), ok] },
  { name: 'a job with its output elsewhere', steps: [$('sleep 30 >/dev/null 2>&1 & echo s', 's\n'), ok] },
  {
    name: 'late output is not in the next result',
    needsHost: true,
    steps: [
      $('(sleep 0.3; echo late) & echo first', 'first\n', { background: true }),
      $('sleep 0.6; echo second', 'second\n'),
    ],
  },
  {
    name: 'jobs are listed',
    steps: [$('sleep 30 >/dev/null 2>&1 &'), $('jobs', '[1]+  Running                 sleep 30 > /dev/null 2>&1 &\n')],
  },
  { name: 'kill %1', steps: [$('sleep 30 >/dev/null 2>&1 &'), fails('kill %1; wait %1', 143)] },
  { name: 'wait', steps: [$('(sleep 0.3; exit 5) >/dev/null 2>&1 & p=$!'), fails('wait $p', 5), ok] },
  { name: 'fg of a job', steps: [$('sleep 0.3 >/dev/null 2>&1 &'), fails('fg', 1, 'bash: fg: no job control\n')] },
  {
    name: 'nohup survives',
    steps: [$('nohup sh -c "sleep 0.3; echo done >f" >/dev/null 2>&1 &'), $('cat f', 'done\n', { after: 0.7 })],
  },
  {
    name: 'disown survives',
    steps: [$('(sleep 0.3; echo d >f) >/dev/null 2>&1 & disown'), $('jobs; sleep 0.6; cat f', 'd\n')],
  },
  {
    name: 'setsid survives',
    steps: [$('setsid sh -c "sleep 0.3; echo d >f" >/dev/null 2>&1'), $('sleep 0.1; cat f', 'd\n')],
  },
  {
    name: 'a server in the background answers later',
    steps: [
      $(
        'python3 -m http.server 8123 --bind 127.0.0.1 >/dev/null 2>&1 & until curl -sf -o /dev/null 127.0.0.1:8123; do sleep 0.05; done',
        '',
      ),
      $('echo hi >page; curl -s 127.0.0.1:8123/page', 'hi\n'),
      fails('kill %1; wait %1', 143),
    ],
  },
  {
    name: 'no notice of an ended job in a later call',
    steps: [$('true >/dev/null 2>&1 &'), $('sleep 0.2'), ok, $('echo x >&2', '', { err: 'x\n' })],
  },
];

const hostile: ShellCase[] = [
  { name: 'prompts overwritten', steps: [$("PS1='A ' PS2='B ' PS0='C ' PS4='D ' PROMPT_COMMAND='echo E'"), ok, okErr] },
  {
    name: 'a DEBUG trap does not reach into later calls',
    steps: [
      $("trap 'echo dbg; echo dbg >&2' DEBUG"),
      $('echo a', 'a\n', { cwd: '/workspace' }),
      fails('cd /tmp; false', 1, '', { out: '', cwd: '/tmp' }),
      $('echo $?; sleep 30 >/dev/null 2>&1 &', '1\n'),
      $('jobs -p | wc -l; kill %1; trap - DEBUG', '1\n', { cwd: '/tmp' }),
      ok,
    ],
  },
  {
    name: 'an ERR trap',
    steps: [$("trap 'echo err' ERR"), { run: 'false', out: 'err\n', code: 1 }, $('trap - ERR'), ok],
  },
  { name: 'a RETURN trap', steps: [$("trap 'true' RETURN"), ok] },
  { name: 'an EXIT trap does not fire at the end of a call', steps: [$("trap 'echo bye' EXIT"), ok, ok] },
  {
    name: 'set -x',
    steps: [$('set -x'), { run: 'echo a', out: 'a\n', err: '++ echo a\n' }, { run: 'set +x', err: '++ set +x\n' }, ok],
  },
  {
    name: 'set -v',
    steps: [$('set -v'), { run: 'echo a', out: 'a\n', err: 'echo a\n' }, { run: 'set +v', err: 'set +v\n' }, ok],
  },
  { name: 'set -n is ignored, as in any interactive bash', steps: [$('set -n; echo a', 'a\n'), ok] },
  { name: 'all functions and aliases unset', steps: [$('unset -f $(compgen -A function); unalias -a'), ok] },
  {
    name: 'builtins overridden',
    needsHost: true,
    steps: [
      $(
        'printf() { :; }; echo() { command echo "[$1]"; }; builtin() { :; }; cd() { :; }; eval() { :; }; exit() { :; }',
      ),
      $('echo ok', '[ok]\n'),
      $('unset -f echo printf builtin cd eval exit'),
      ok,
    ],
  },
  {
    name: 'aliases over what matters',
    steps: [$("alias .=: builtin=: printf=: set=: exit=: 'true=false'"), ok, $('unalias -a'), ok],
  },
  {
    name: 'builtins that the host needs disabled: another shell takes over',
    needsHost: true,
    steps: [
      $('enable -n printf . source eval set'),
      { run: 'echo ok', out: 'ok\n', err: 'bash: .: command not found\n', restarted: true },
      ok,
    ],
  },
  { name: 'IFS', steps: [$('IFS=x'), ok, $('v=axb; echo $v', 'a b\n')] },
  { name: 'set -f', steps: [$('set -f'), $('echo /et[c]', '/et[c]\n')] },
  { name: 'posix mode', steps: [$('set -o posix'), ok, $('set +o posix'), ok] },
  { name: 'PATH emptied', steps: [$('PATH='), ok, fails('ls', 127, 'bash: ls: No such file or directory\n')] },
  { name: 'HOME unset, PWD set', steps: [$('unset HOME; PWD=/nowhere'), ok, $('cd /tmp; pwd', '/tmp\n')] },
  { name: 'BASH_ENV and ENV', steps: [$('export BASH_ENV=/nope ENV=/nope'), ok] },
  { name: 'the alternate screen', steps: [$("printf '\\033[?1049h'", '\x1b[?1049h'), ok] },
  {
    name: 'the directory is removed',
    steps: [
      $('mkdir d; cd d; rmdir ../d', '', { cwd: '/workspace/d' }),
      ok,
      $('cd ..; pwd', '/workspace\n', { cwd: '/workspace' }),
    ],
  },
  { name: 'set -m pipelines', steps: [$('set -m; echo a | cat', 'a\n'), $('set +m'), ok] },
  { name: 'many descriptors open', steps: [$('for i in {20..200}; do eval "exec $i</dev/null"; done'), ok] },
  {
    name: 'every descriptor closed',
    steps: [
      $('for i in {3..254}; do eval "exec $i>&-"; done 2>/dev/null'),
      $('echo ok', 'ok\n', { restarted: true }),
      ok,
    ],
  },
  { name: 'ulimit -n 16', needsHost: true, steps: [$('ulimit -n 16'), ok] },
  {
    name: 'deep recursion ends',
    steps: [fails('FUNCNEST=100; f() { f; }; f', 1, 'bash: f: maximum function nesting level exceeded (100)\n'), ok],
  },
  { name: 'LC_ALL=C and odd bytes', steps: [$('export LC_ALL=C'), $("echo 'é'", 'é\n')] },
  {
    name: 'a fork bomb',
    needsHost: true,
    steps: [
      $('mkfifo /tmp/pause'),
      // The shell itself forks once, before there is a bomb: without a place left it would try again for 15 s, and give up.
      {
        run: 'b() { b | b & }; { b & read -t 0.5 -u 9; kill -9 -1; read -t 0.5 -u 9; true; } 9<>/tmp/pause 2>/dev/null',
        timeout: 20,
      },
      { ...ok, after: 1 },
    ],
  },
  {
    name: 'kill -9 -1 spares the shell and the host',
    needsHost: true,
    steps: [$('sleep 30 >/dev/null 2>&1 &'), $('kill -9 -1; sleep 0.2; pgrep -c sleep', '0\n', { code: 1 }), ok],
  },
  { name: 'the host is not to be killed', steps: [$('kill -9 1; kill -STOP 1; kill 1', '', { code: 0 }), ok] },
  {
    name: 'the host is not to be read',
    needsHost: true,
    steps: [fails('cat /proc/1/mem', 1, 'cat: /proc/1/mem: Permission denied\n'), ok],
  },
  { name: 'TMOUT ends an idle shell', steps: [$('TMOUT=1'), { ...ok, after: 1.5, restarted: true }] },
  {
    name: 'SHELLOPTS and read-only variables',
    steps: [$('readonly IFS PATH PS1 PS2 PROMPT_COMMAND'), ok, fails('exit 3', 3, '', { restarted: true }), ok],
  },
  { name: 'a huge variable', steps: [$('x=$(head -c 3000000 /dev/zero | tr "\\0" x); echo ${#x}', '3000000\n'), ok] },
];

const timeouts: ShellCase[] = [
  {
    name: 'sleep is interrupted and the state kept',
    steps: [
      $('x=1; cd /tmp'),
      fails('echo part; sleep 100; echo never', 130, '', {
        out: 'part\n',
        status: 'timeout',
        timeout: 0.8,
        cwd: '/tmp',
      }),
      $('echo $x; pwd', '1\n/tmp\n'),
    ],
  },
  { name: 'a busy loop', steps: [fails('while :; do :; done', 130, '', { status: 'timeout', timeout: 0.5 }), ok] },
  {
    name: 'a child that ignores INT',
    steps: [
      $('x=1'),
      fails('for i in 1 2 3 4; do sh -c "trap \'\' INT; sleep 100"; sleep 100; done', [130, 137], '', {
        status: 'timeout',
        timeout: 0.5,
      }),
      $('echo $x', '1\n'),
    ],
  },
  {
    name: 'a child that ignores INT, TERM, QUIT and HUP',
    steps: [
      $('x=1'),
      fails('sh -c "trap \'\' INT TERM QUIT HUP; while :; do sleep 0.1; done"', 137, '', {
        status: 'timeout',
        timeout: 0.5,
      }),
      $('echo $x', '1\n'),
    ],
  },
  {
    name: 'a shell that ignores INT',
    steps: [
      $('cd /tmp'),
      fails("trap '' INT; while :; do :; done", 137, '', {
        status: 'timeout',
        timeout: 0.5,
        restarted: true,
        cwd: '/tmp',
      }),
      ok,
    ],
  },
  {
    name: 'a pipeline',
    steps: [fails('yes >/dev/null | sleep 100', 130, '', { status: 'timeout', timeout: 0.5 }), ok],
  },
  {
    name: 'an earlier background job survives',
    steps: [
      $('(while :; do sleep 0.1; done) >/dev/null 2>&1 &'),
      fails('sleep 100', 130, '', { status: 'timeout', timeout: 0.5 }),
      $('jobs -p | wc -l; kill %1', '1\n'),
    ],
  },
  {
    name: 'endless output is bounded',
    steps: [{ run: 'yes', out: 'y\n'.repeat(24_576), omitted: -1, code: 130, status: 'timeout', timeout: 0.5 }, ok],
  },
  {
    name: 'a program that handles INT ends by its own code',
    steps: [
      fails('python3 -c "import time\ntry: time.sleep(100)\nexcept KeyboardInterrupt: print(1)"', 0, '', {
        out: '1\n',
        status: 'timeout',
        timeout: 1,
      }),
      ok,
    ],
  },
  {
    name: 'a double fork',
    needsHost: true,
    steps: [
      fails('setsid sh -c "sleep 100 & sleep 100"; sleep 100', 130, '', { status: 'timeout', timeout: 0.5 }),
      $('pgrep -c sleep', '0\n', { code: 1 }),
    ],
  },
];

export const shellCases: readonly ShellCase[] = [
  ...basics,
  ...syntax,
  ...state,
  ...death,
  ...input,
  ...bytes,
  ...forging,
  ...background,
  ...hostile,
  ...timeouts,
];
