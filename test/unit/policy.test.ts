import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { AppError } from '../../src/errors.ts';
import { createPolicy, guarded } from '../../src/sandbox/intercept/policy/policy.ts';
import type { Workspace } from '../../src/sandbox/ports/workspace.ts';

const allowed = [
  'ls', 'cat', 'echo', 'grep', 'cd', 'printf', 'python3', 'env', 'xargs', 'sudo', 'nohup', 'timeout', 'nice', 'find',
  'bash', 'sh', 'source', 'stdbuf', 'watch', 'flock', 'time', 'busybox', 'fd', 'mapfile', 'hash', 'enable', 'sort',
]; // prettier-ignore
const policy = policyOf({ allowed_executables: allowed });

function policyOf(rules: { allowed_executables?: readonly string[]; blocked_patterns?: readonly string[] }) {
  const policy = createPolicy({ enabled: true, allowed_executables: [], blocked_patterns: [], ...rules });
  assert.ok(policy);
  return policy;
}

async function refusal(check: Promise<void>): Promise<string> {
  try {
    await check;
  } catch (error) {
    assert.ok(error instanceof AppError, String(error));
    assert.equal(error.code, 'forbidden');
    assert.ok(!error.message.includes('\n'));
    return error.message;
  }
  return 'allowed';
}

const fine = [
  '',
  '# only a comment',
  'ls -la | grep x && echo "$(cat f)" > out.txt',
  'cd /tmp; A=1 ls; export B=2 C; unset B; set -e; [ -f x ] || echo no',
  'for f in *.csv; do cat "$f"; done; while read -r l; do echo "$l"; done < f',
  'if [[ $x == y ]]; then ls; elif ((x > 3)); then cat x; else :; fi',
  'case $x in a|b) ls ;; *) cat ;; esac',
  'f() { ls "$1"; }; f a',
  'f() { [ "$1" = 0 ] || f $(($1 - 1)); }; f 3',
  'function g { cat; }; g',
  'python3 - <<EOF\nimport os; os.remove("x")\nEOF',
  "cat <<'EOF'\nrm -rf / $(rm) `rm`\nEOF",
  'echo \'rm -rf /\' "rm" \\rm # rm',
  'env A=1 ls',
  'env -i PATH=/bin ls',
  'env',
  'find . -name "*.c" -exec grep -l x {} +',
  'find . -type f | xargs -n 1 cat',
  'find . -print0 | xargs -0 -I{} sh -c "cat x"',
  'xargs -P4 -n1 cat < files',
  'timeout 5 ls; timeout -k 1 -s KILL 5s ls; timeout --signal=KILL "$T" ls',
  'nohup python3 x.py & ',
  'nice -n 5 ls; nice -5 ls; nice ls',
  'time ls; command ls; builtin echo x; command -v rm; command -V rm; type rm',
  'exec 3>log; echo x >&3',
  'exec ls',
  "eval 'ls -l'",
  'bash -c "ls | cat"',
  'bash -euo pipefail -c "ls"',
  'sh -lc ls',
  'bash script.sh a b',
  'bash ./"$f"; bash "/opt/$x" a',
  'source "/opt/$v/bin/activate"',
  'bash <<< "ls -l"',
  "bash -s <<'EOF'\nls\ncat x\nEOF",
  'source venv/bin/activate',
  "trap 'echo bye' EXIT; trap - EXIT; trap '' INT",
  '/bin/ls; /usr/bin/cat x',
  'l\\s; "l"s; $\'\\x6cs\'',
  'ls() { echo mine; }; ls',
  '((x = 1 + 2)); echo $((x * 2)) ${x:-y} ${#x} ${x//a/b} ${a[@]}',
  'cat <(ls) >(sort)',
  'coproc ls',
  '! ls',
  'ls &',
  '{ ls; cat x; } 2>&1 | sort',
  '( cd /tmp && ls )',
  'select x in a b; do echo $x; done',
  'stdbuf -oL ls',
  'watch -n 1 ls',
  'flock /tmp/l ls; flock -n /tmp/l -c "ls -l"',
  'busybox ls',
  'fd x -x cat',
  'xargs',
  'mapfile -t lines < f',
  "awkless='{print $(NF)}'",
];

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** Ways to run a script inside another one. */
const contexts: readonly ((script: string) => string)[] = [
  (script) => `ls; ${script}`,
  (script) => `ls | { ${script}; }`,
  (script) => `( ${script} )`,
  (script) => `if ${script}; then ls; fi`,
  (script) => `for i in 1; do ${script}; done`,
  (script) => `f() { ${script}; }; f`,
  (script) => `echo "$( ${script} )"`,
  (script) => `cat <( ${script} )`,
  (script) => `echo $((1 + $( ${script} )))`,
  (script) => `: "${'$'}{x:-$( ${script} )}"`,
  (script) => `eval ${quote(script)}`,
  (script) => `bash -c ${quote(script)}`,
  (script) => `env A=1 nice -n 3 sh -ec ${quote(script)}`,
  (script) => `find . -exec bash -c ${quote(script)} \\;`,
  (script) => `trap ${quote(script)} EXIT`,
  (script) => `xargs -n 1 timeout 5 bash -c ${quote(script)}`,
  (script) => `bash <<< ${quote(script)}`,
];

/** Script → what is named in the refusal. */
const refused: readonly (readonly [string, string])[] = [
  ['rm -rf /', '"rm"'],
  ['ls; rm x', '"rm"'],
  ['ls | rm', '"rm"'],
  ['ls && rm x', '"rm"'],
  ['ls || rm x', '"rm"'],
  ['ls & rm x', '"rm"'],
  ['! rm x', '"rm"'],
  ['time rm x', '"rm"'],
  ['A=1 rm x', '"rm"'],
  ['>out rm x', '"rm"'],
  ['echo $(rm x)', '"rm"'],
  ['echo "a $(echo $(rm x))"', '"rm"'],
  ['echo `rm x`', '"rm"'],
  ['echo `echo \\`rm x\\``', '"rm"'],
  ['A=$(rm x)', '"rm"'],
  ['export A=$(rm x)', '"rm"'],
  ['a[$(rm x)]=1', '"rm"'],
  ['echo ${a[$(rm x)]}', '"rm"'],
  ['echo ${x:-$(rm x)}', '"rm"'],
  ['echo ${x/$(rm x)/b}', '"rm"'],
  ['echo $((1 + $(rm x)))', '"rm"'],
  ['((a[$(rm x)]))', '"rm"'],
  ['[[ -n $(rm x) ]]', '"rm"'],
  ['for x in $(rm y); do ls; done', '"rm"'],
  ['for ((i = $(rm x); i < 1; i++)); do ls; done', '"rm"'],
  ['case $(rm x) in a) ls ;; esac', '"rm"'],
  ['case a in $(rm x)) ls ;; esac', '"rm"'],
  ['case a in a) rm x ;; esac', '"rm"'],
  ['if rm x; then ls; fi', '"rm"'],
  ['while rm x; do ls; done', '"rm"'],
  ['until ls; do rm x; done', '"rm"'],
  ['( rm x )', '"rm"'],
  ['{ rm x; }', '"rm"'],
  ['cat <(rm x)', '"rm"'],
  ['ls > >(rm x)', '"rm"'],
  ['ls > $(rm x)', '"rm"'],
  ['cat <<EOF\n$(rm x)\nEOF', '"rm"'],
  ['cat <<EOF\n`rm x`\nEOF', '"rm"'],
  ['cat <<< $(rm x)', '"rm"'],
  ['coproc rm x', '"rm"'],
  ['coproc N { rm x; }', '"rm"'],
  ['f() { rm x; }', '"rm"'],
  ['function f { rm x; }; f', '"rm"'],
  ['f() ( rm x )', '"rm"'],
  ['f', '"f"'],
  ['f; f() { ls; }', '"f"'],
  ['(rm() { :; }); rm x', '"rm"'],
  ['false && rm() { :; }; rm x', '"rm"'],
  ['rm() { :; } & rm x', '"rm"'],
  ['rm() { :; }; unset -f rm; rm x', '"rm"'],
  ['rm() { :; }; command rm x', '"rm"'],
  ['rm() { :; }; env rm x', '"rm"'],
  ['rm() { :; }; /bin/rm x', '"/bin/rm"'],
  ['rm() { :; }; eval "rm x"', '"rm"'],
  ['/bin/rm x', '"/bin/rm"'],
  ['./ls/../rm x', '"./ls/../rm"'],
  ['./true', '"./true"'],
  ['r\\m x', '"rm"'],
  ['r\\\nm x', '"rm"'],
  ['"rm" x', '"rm"'],
  ["r''m x", '"rm"'],
  ["$'\\x72\\x6d' x", '"rm"'],
  ["$'r\\155' x", '"rm"'],
  ['$"rm" x', '"$\\"rm\\""'],
  ['$X x', '"$X"'],
  ['"$X" x', '"\\"$X\\""'],
  ['${X:-rm} x', '"${X:-rm}"'],
  ['$(echo rm) x', '"$(echo rm)"'],
  ['r$(echo m) x', '"r$(echo m)"'],
  ['/bin/r? x', '"/bin/r?"'],
  ['/bin/[r]m x', '"/bin/[r]m"'],
  ['{rm,x}', '"{rm,x}"'],
  ["'' rm", '"\'\'"'],
  ['$@', '"$@"'],
  ['ls\r', '"ls?"'],
  ['env rm x', '"rm"'],
  ['env -i A=1 rm x', '"rm"'],
  ['env A=$X rm x', '"A=$X"'],
  ['env A="$X" rm x', '"rm"'],
  ['env -u X rm x', '"rm"'],
  ['env -uX rm x', '"rm"'],
  ['env -C /tmp rm x', '"rm"'],
  ['env - rm x', '"rm"'],
  ['env -- rm x', '"rm"'],
  ['env -S "rm x"', '"env"'],
  ['env --split-string="rm x"', '"env"'],
  ['env -vS "rm x"', '"env"'],
  ['env $X ls', '"$X"'],
  ['env -u $X ls', '"env"'],
  ['env {rm,x}', '"{rm,x}"'],
  ['env BASH_ENV=x bash script.sh', '"BASH_ENV"'],
  ['env env nice -n 3 timeout 1 rm x', '"rm"'],
  ['echo x | xargs rm', '"rm"'],
  ['xargs -0 -n1 rm', '"rm"'],
  ['xargs -n 1 rm', '"rm"'],
  ['xargs -I % rm %', '"rm"'],
  ['xargs -I% % x', '"%"'],
  ['xargs -I{} sh -c "{}"', '"sh"'],
  ['xargs -I % sh -c "ls %"', '"sh"'],
  ['xargs -i sh -c "{} x"', '"sh"'],
  ['xargs --replace=Z sh -c "Z"', '"sh"'],
  ['xargs -0I% sh -c "%"', '"sh"'],
  ['xargs sh -c', '"sh"'],
  ['echo rm x | xargs env', '"xargs"'],
  ['echo rm x | xargs nice -n 5', '"xargs"'],
  ['echo rm x | xargs env nohup', '"xargs"'],
  ['echo x | xargs bash', '"bash"'],
  ['xargs --max-lines rm x', '"x"'],
  ['xargs --unknown rm x', '"xargs"'],
  ['xargs $OPTS rm', '"$OPTS"'],
  ['sudo rm x', '"rm"'],
  ['sudo -u root rm x', '"rm"'],
  ['sudo -i', '"sudo"'],
  ['sudo -s rm', '"sudo"'],
  ['sudo A=1 rm x', '"rm"'],
  ['nohup rm x &', '"rm"'],
  ['timeout 5 rm x', '"rm"'],
  ['timeout -k 1 5 rm x', '"rm"'],
  ['timeout -sKILL 5 rm x', '"rm"'],
  ['timeout --signal KILL 5 rm x', '"rm"'],
  ['timeout $T ls', '"timeout"'],
  ['timeout "$T" rm x', '"rm"'],
  ['nice rm x', '"rm"'],
  ['nice -n 5 rm x', '"rm"'],
  ['nice -10 rm x', '"rm"'],
  ['stdbuf -oL rm x', '"rm"'],
  ['exec rm x', '"rm"'],
  ['exec -a ls rm x', '"rm"'],
  ['exec -c rm x', '"rm"'],
  ['exec $SHELL', '"$SHELL"'],
  ['command rm x', '"rm"'],
  ['command -p rm x', '"rm"'],
  ['builtin eval rm', '"rm"'],
  ['command time rm x', '"rm"'],
  ['\\time -f %e rm x', '"rm"'],
  ['busybox rm x', '"rm"'],
  ['busybox sh -c "rm x"', '"rm"'],
  ['eval rm x', '"rm"'],
  ['eval "ls; rm x"', '"rm"'],
  ['eval \'eval "rm x"\'', '"rm"'],
  ['eval "$X"', '"eval"'],
  ['eval $(cat x)', '"eval"'],
  ['eval "echo \\$(rm x)"', '"rm"'],
  ['eval "ls \'"', 'The script'],
  ['bash -c "rm x"', '"rm"'],
  ['bash -c \'bash -c "rm x"\'', '"rm"'],
  ['bash -lc "rm x"', '"rm"'],
  ['bash -o pipefail -c "rm x"', '"rm"'],
  ['bash -euxo pipefail -c "rm x"', '"rm"'],
  ['bash --norc -c "rm x"', '"rm"'],
  ['bash +x -c "rm x"', '"rm"'],
  ['bash -c "$X"', '"bash"'],
  ['bash -c "$(cat x)"', '"bash"'],
  ["bash -c '$0 x' rm", '"$0"'],
  ['bash -c \'"$@"\' _ rm x', '"\\"$@\\""'],
  ['bash $OPTS', '"bash"'],
  ['bash "$f" x', '"bash"'],
  ['bash --rcfile x -i', '"bash"'],
  ['bash --init-file x', '"bash"'],
  ['sh -c "rm x"', '"rm"'],
  ['/bin/sh -c "rm x"', '"rm"'],
  ['env bash -c "rm x"', '"rm"'],
  ['bash', '"bash"'],
  ['bash -s', '"bash"'],
  ['bash -i', '"bash"'],
  ['echo "rm x" | bash', '"bash"'],
  ['echo "rm x" | sh -s a', '"sh"'],
  ['curl x | sh', '"curl"'],
  ['bash <<< "rm x"', '"rm"'],
  ['bash <<< "$X"', '"bash"'],
  ['bash -s <<< "rm x"', '"rm"'],
  ['bash <<EOF\nrm x\nEOF', '"rm"'],
  ["bash <<'EOF'\nrm x\nEOF", '"rm"'],
  ['bash <<EOF\n$X\nEOF', '"bash"'],
  ['bash <<EOF\necho \\$(rm x)\nEOF', '"bash"'],
  ['bash <<-EOF\n\trm x\n\tEOF', '"rm"'],
  ['bash 0<<< "rm x"', '"rm"'],
  ['bash <<< ls <<< "rm x"', '"rm"'],
  ['bash 3<<< ls', '"bash"'],
  ['{ bash; } <<< "rm x"', '"bash"'],
  ['bash < x', '"bash"'],
  ['bash /dev/stdin <<< "rm x"', '"bash"'],
  ['bash //dev/stdin <<< "rm x"', '"bash"'],
  ['bash /proc/self/fd/0 <<< "rm x"', '"bash"'],
  ['bash <(echo rm x)', '"bash"'],
  ['source <(echo rm x)', '"source"'],
  ['source /dev/stdin <<< "rm x"', '"source"'],
  ['. x', '"."'],
  ['find . -exec rm {} +', '"rm"'],
  ['find . -exec rm {} \\;', '"rm"'],
  ["find . -exec rm {} ';'", '"rm"'],
  ['find . -execdir rm {} +', '"rm"'],
  ['find . -ok rm {} \\;', '"rm"'],
  ['find . -okdir rm {} \\;', '"rm"'],
  ['find . -exec ls {} \\; -exec rm {} \\;', '"rm"'],
  ['find . "-exec" rm {} +', '"rm"'],
  ['find . -exec {} \\;', '"{}"'],
  ['find . -exec ./{} x \\;', '"./{}"'],
  ['find . -exec bash -c "rm x" \\;', '"rm"'],
  ['find . -exec sh -c "{}" \\;', '"sh"'],
  ['find . -exec env {} \\;', '"find"'],
  ['find . -exec $X {} +', '"$X"'],
  ['fd x -x rm', '"rm"'],
  ['fd x --exec rm', '"rm"'],
  ['fd x -X rm', '"rm"'],
  ['fd x --exec=rm', '"fd"'],
  ['watch rm x', '"rm"'],
  ['watch -n 1 "ls; rm x"', '"rm"'],
  ['watch -n1 "$X"', '"watch"'],
  ['flock /tmp/l rm x', '"rm"'],
  ['flock /tmp/l -c "rm x"', '"rm"'],
  ["trap 'rm x' EXIT", '"rm"'],
  ['trap "$X" EXIT', '"trap"'],
  ["trap -- 'rm x' DEBUG", '"rm"'],
  ["alias ls='rm'", '"alias"'],
  ['alias "$X"', '"alias"'],
  ['hash -p /bin/rm ls', '"hash"'],
  ['enable -f x.so ls', '"enable"'],
  ['mapfile -C rm -c 1 x', '"mapfile"'],
  ["PROMPT_COMMAND='rm x'", '"PROMPT_COMMAND"'],
  ["export PROMPT_COMMAND='rm x'", '"PROMPT_COMMAND"'],
  ["PS4='$(rm x)'; set -x", '"PS4"'],
  ['BASH_ENV=x bash script.sh', '"BASH_ENV"'],
  ['LD_PRELOAD=./x.so ls', '"LD_PRELOAD"'],
  ['read PROMPT_COMMAND <<< "rm x"', '"PROMPT_COMMAND"'],
  ['printf -v PROMPT_COMMAND "rm x"', '"PROMPT_COMMAND"'],
  ['printf -vPS4 x', '"PS4"'],
  ['mapfile PROMPT_COMMAND < x', '"PROMPT_COMMAND"'],
  ['declare -n r=PROMPT_COMMAND; r="rm x"', '"r"'],
  ['for PROMPT_COMMAND in "rm x"; do :; done', '"PROMPT_COMMAND"'],
  ['echo ${PROMPT_COMMAND:=rm x}', '"PROMPT_COMMAND"'],
  ["x='$(rm x)'; echo ${x@P}", '"${x@P}"'],
  ["x='a[$(rm x)]'; ((x))", '"x"'],
  ["test -v 'a[$(rm x)]'", '"test"'],
  ["[ -v 'a[`rm x`]' ]", '"["'],
  ["[[ -v 'a[$(rm x)]' ]]", '"[["'],
  ["let 'a[$(rm x)]'", '"let"'],
  ["printf -v 'a[$(rm x)]' x", '"printf"'],
  ["unset 'a[$(rm x)]'", '"unset"'],
  ["read 'a[$(rm x)]' <<< x", '"read"'],
  ['echo "oops', 'The script'],
  ['if ls; then', 'The script'],
  ['ls )', 'The script'],
  ['ls() cat', 'The script'],
  ['l\0s', 'The script'],
  ['$('.repeat(3000), 'The script'],
  ['('.repeat(30000), 'The script'],
  ['{ '.repeat(300) + 'rm; ' + '}; '.repeat(300), 'The script'],
  [Array.from({ length: 70 }, () => 'eval ls').join('\n'), 'The script'],
];

describe('the allow-list', () => {
  for (const script of fine) {
    it(`lets through ${JSON.stringify(script).slice(0, 100)}`, async () => {
      assert.equal(await refusal(policy.check(script)), 'allowed');
    });
  }

  for (const [script, named] of refused) {
    it(`finds ${named} in ${JSON.stringify(script).slice(0, 100)}`, async () => {
      const said = await refusal(policy.check(script));
      const start = named.startsWith('"') ? `Command ${named} is not allowed: ` : named;
      assert.ok(said.startsWith(start), said);
    });
  }

  it('says which command and which rule', async () => {
    assert.equal(
      await refusal(policy.check('ls | rm -rf x')),
      'Command "rm" is not allowed: it is not in security.allowed_executables.',
    );
    assert.equal(
      await refusal(policy.check('$X y')),
      'Command "$X" is not allowed: its name is not written out, and security.allowed_executables is set.',
    );
    assert.match(
      await refusal(policy.check('echo "x')),
      /^The script is not allowed: it cannot be parsed \(line 1, column 6: reached EOF without closing quote `"`\), and security\.enabled is set\.$/,
    );
  });

  it('finds a command however it is nested', async () => {
    const nested = fc.array(fc.constantFrom(...contexts), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(nested, async (layers) => {
        const script = layers.reduce((inner, layer) => layer(inner), 'rm x');
        assert.match(await refusal(policy.check(script)), /^Command "(rm|f)" is not allowed/, script);
      }),
      { numRuns: 150 },
    );
  });

  it('refuses a script over one mebibyte unread', async () => {
    assert.match(await refusal(policy.check('#'.repeat(1024 * 1024 + 1))), /longer than 1048576 characters/);
  });
});

describe('the patterns', () => {
  const patterns = policyOf({ blocked_patterns: ['rm\\s+-rf', 'curl.*\\|.*sh', '^dd\\b'] });
  it('take no more than linear time on a long script', { timeout: 20_000 }, async () => {
    await patterns.check(`: '${'curl '.repeat(200_000)}'`);
  });
  const cases: readonly (readonly [string, boolean])[] = [
    ['ls; anything "$X" y; bash x', true],
    ['alias ls=x; $X', true],
    ['rm -rf /', false],
    ["r''m -rf /", false],
    ['"rm" \\\n -rf /', false],
    ["rm $'-rf' x", false],
    ['env nice rm   -rf x', false],
    ['bash -c "rm -r\'f\' x"', false],
    ['curl x | sh', false],
    ['ls; dd if=x', false],
    ['cat <<X\n$(dd)\nX', false],
    ['echo dd', true],
    ['echo "oops', false],
  ];
  for (const [script, passes] of cases) {
    it(`${passes ? 'let through' : 'refuse'} ${JSON.stringify(script)}`, async () => {
      assert.equal((await refusal(patterns.check(script))) === 'allowed', passes);
    });
  }

  it('are named in the refusal', async () => {
    assert.equal(
      await refusal(patterns.check("ls; r''m -rf x")),
      'Command "rm" is not allowed: it matches rm\\s+-rf of security.blocked_patterns.',
    );
    assert.equal(
      await refusal(patterns.check('curl x | sh')),
      'The script is not allowed: it matches curl.*\\|.*sh of security.blocked_patterns.',
    );
  });
});

describe('settings', () => {
  it('without a rule, or disabled, make no policy', () => {
    assert.equal(createPolicy({ enabled: true, allowed_executables: [], blocked_patterns: [] }), undefined);
    assert.equal(createPolicy({ enabled: false, allowed_executables: ['ls'], blocked_patterns: ['x'] }), undefined);
  });
});

describe('a guarded workspace', () => {
  const ran: string[] = [];
  const workspace = {
    handle: 'sbx-1',
    shell: { run: async (command: string) => void ran.push(command) },
    terminals: { start: async ({ command }: { command: string }) => void ran.push(command) },
  } as unknown as Workspace;

  it('runs what passes and nothing else', async () => {
    const { shell, terminals } = guarded(workspace, policy);
    await shell.run('ls');
    assert.match(await refusal(shell.run('rm x') as unknown as Promise<void>), /"rm"/);
    await terminals.start({ command: 'python3' });
    assert.match(await refusal(terminals.start({ command: 'vim' }) as unknown as Promise<void>), /"vim"/);
    assert.deepEqual(ran, ['ls', 'python3']);
  });

  it('opens no terminal into which commands could be typed unchecked', async () => {
    for (const rules of [{ allowed_executables: ['bash'] }, { blocked_patterns: ['x'] }]) {
      const { terminals } = guarded(workspace, policyOf(rules));
      const bare = await refusal(terminals.start() as unknown as Promise<void>);
      assert.equal(
        bare,
        'A terminal without a command is not allowed: what is typed into a shell cannot be checked against security.',
      );
      assert.match(
        await refusal(terminals.start({ command: 'env bash -i' }) as unknown as Promise<void>),
        /not allowed/,
      );
    }
  });
});
