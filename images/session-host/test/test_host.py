"""The session host, driven through its protocol. HOST names the program; run by `make check` in images/session-host."""

import contextlib
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from host import CARRY, DIAL, FORGET, GIVE, HELLO, INPUT, OPEN, PING, PORTS, RUN, SEND, SIGNAL, TEXT, TOKEN, Client, Closed, Host, connect

PROGRAM = os.environ["HOST"]
WRAPPER = os.environ.get("WRAPPER", "").split()
COUNT = int(os.environ.get("COMMANDS", "1000"))


def cpu_ticks(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def fds(pid):
    """0 where only root may count them."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        return 0


def rss_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1))


def children(pid):
    return [int(p) for p in open(f"/proc/{pid}/task/{pid}/children").read().split()]


def name_of(pid):
    return open(f"/proc/{pid}/cmdline").read().replace("\0", " ").strip()


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Case(unittest.TestCase):
    shell = ("/bin/bash",)

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.host = Host(PROGRAM, self.directory.name, shell=self.shell, wrapper=WRAPPER)
        self.client = self.host.client()

    def tearDown(self):
        self.assertEqual(self.host.stop(), 0)
        self.directory.cleanup()

    def pid(self):
        return self.host.process.pid

    def door(self):
        return next(p for p in children(self.pid()) if name_of(p).endswith("session-host door"))

    def check(self, command, out=b"", err=b"", code=0, how=0, **options):
        self.assertEqual(self.client.run(command, **options), (out, err, code, how), command)

    def check_ok(self):
        self.check("echo ok", b"ok\n")

    def interrupt(self, number):
        """What the server does when the time is up."""
        channel = self.client.channel(number)
        self.client.signal(number, signal.SIGINT, 0)
        for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            self.client.signal(number, kind, 2)
            try:
                self.client.until(lambda: channel.done, 0.7)
                return channel.done
            except TimeoutError:
                pass
        self.client.reset(True)
        self.client.until(lambda: channel.done, 5)
        return channel.done

    def gone(self):
        """No process is left, at once or very soon."""
        for _ in range(50):
            if self.client.ping()[0] == 0:
                return
            time.sleep(0.02)
        self.fail(f"{self.client.ping()[0]} processes are left")

    def out(self, number):
        return bytes(self.client.channel(number).streams[0].data)


class Basics(Case):
    def test_streams_and_codes(self):
        self.check("echo hi", b"hi\n")
        self.check("echo o;echo e>&2", b"o\n", b"e\n")
        self.check("printf abc", b"abc")
        self.check("")
        self.check("# only a comment")
        self.check("(exit 255)", code=255)
        self.check("sh -c 'kill -9 $$'", err=b"", code=137)
        self.check("nosuchcommand", err=b"bash: nosuchcommand: command not found\n", code=127)
        self.check("/etc/passwd", err=b"bash: /etc/passwd: Permission denied\n", code=126)
        self.check("if true\nthen\n  echo x\nfi", b"x\n")
        self.check("cat <<'E'\n$HOME `x`\t$(y)\nE", b"$HOME `x`\t$(y)\n")
        self.check("echo '!!'", b"!!\n")
        self.check("echo 'a\nb'", b"a\nb\n")
        self.check("return 9", code=9)

    def test_unfinished_syntax(self):
        self.check('echo "oops', err=b"bash: line 1: unexpected EOF while looking for matching `\"'\n", code=2)
        self.check_ok()
        warning = b"bash: warning: here-document at line 1 delimited by end-of-file (wanted `E')\n"
        self.check("cat <<E\nabc", b"abc\n", warning)
        self.check_ok()
        self.check("if true; then echo x", err=b"bash: line 2: syntax error: unexpected end of file\n", code=2)
        self.check_ok()
        self.check("}", err=b"bash: line 1: syntax error near unexpected token `}'\nbash: line 1: `}'\n", code=2)
        self.check("echo a\n)", b"a\n", b"bash: line 2: syntax error near unexpected token `)'\nbash: line 2: `)'\n", 2)
        self.check_ok()

    def test_file_name_goes_only_from_messages(self):
        self.check("echo 'bash: /proc/1/fd/12: line 1: x' >&2", err=b"bash: /proc/1/fd/12: line 1: x\n")
        self.check("bash -c 'echo \"'", err=b"bash: -c: line 1: unexpected EOF while looking for matching `\"'\n", code=2)
        flood = "for i in {1..300}; do head -c 1000 /dev/zero | tr '\\0' b >&2; done; . /dev/fd/3 3<<<'echo \"'; eval 'echo )'"
        out, err, code, how = self.client.run(flood)
        self.assertEqual((len(err[:300000].strip(b"b")), how), (0, 0))
        self.assertNotIn(b"/proc/", err)

    def test_status_is_carried(self):
        for status in (0, 1, 2, 42, 130, 255):
            self.check("echo $?", b"%d\n" % status, status=status)
        self.check("set -e; trap 'echo no' ERR")
        self.check("echo $?; trap - ERR; set +e", b"3\n", status=3)
        self.check("echo $?", b"1\n", status=1)

    def test_pipestatus_and_conditions_do_not_end_an_errexit_shell(self):
        self.check("set -e; ! true", code=1)
        self.check("[ a = b ] && echo", code=1)
        self.check("case $- in *e*) echo errexit; esac; (exit 4) || echo or", b"errexit\nor\n")
        self.check("echo $?; ! true", b"2\n", code=1, status=2)
        self.check("echo a; false; echo b", b"a\n", code=1, how=1)
        self.check("set -e; true")
        self.check("set +e; false", code=1)
        self.check("echo a; false; echo b", b"a\nb\n")

    def test_large_texts(self):
        self.check("echo " + "x" * 5000, b"x" * 5000 + b"\n")
        body = "y" * 100 + "\n"
        self.check("cat <<'E'\n" + body * 2000 + "E", (body * 2000).encode())
        big = b"cat <<'E' | wc -c\n" + b"z" * ((4 << 20) - 100) + b"\nE"
        self.check(big, b"%d\n" % ((4 << 20) - 99), seconds=60)
        self.assertEqual(self.client.run(b"x" * ((4 << 20) + 1))[0], 3)
        self.check_ok()

    def test_directory(self):
        os.mkdir(self.directory.name + "/real")
        os.symlink("real", self.directory.name + "/link")
        self.check("cd link; pwd", self.directory.name.encode() + b"/link\n")
        self.assertEqual(self.client.channel(self.client.next).done[5], self.directory.name + "/link")
        for name in ("a b", "$(touch pwned)", "quote'\"", "new\nline", "`x`;#\\", "+ 1 , 0 ", "é"):
            self.check("cd " + self.directory.name)
            path = self.directory.name + "/" + name
            os.mkdir(path)
            quoted = "'" + path.replace("'", "'\\''") + "'"
            self.check("cd " + quoted)
            self.assertEqual(self.client.channel(self.client.next).done[5], path)
        self.check("unset PWD; cd /usr; unset PWD")
        self.assertEqual(self.client.channel(self.client.next).done[5], "/usr")
        self.check("PWD=/nonsense")
        self.assertEqual(self.client.channel(self.client.next).done[5], "/usr")
        self.check("cd " + self.directory.name + "; PWD=" + "x" * 100000)
        self.assertEqual(self.client.channel(self.client.next).done[5], self.directory.name)
        self.assertFalse(os.path.exists(self.directory.name + "/pwned"))
        self.check_ok()


class State(Case):
    def test_is_kept(self):
        self.check("export A=1; b=(x 'y z'); f() { echo f$1; }; shopt -s expand_aliases nullglob; alias g='echo g'")
        self.check("umask 027; set -o noclobber; declare -A m=([k]=v); trap 'echo usr1' USR1")
        self.check('pwd; env | grep ^A=; echo "${b[1]}"; f 2; umask; echo ${m[k]}', self.directory.name.encode() + b"\nA=1\ny z\nf2\n0027\nv\n")
        self.check("g", b"g\n")
        self.check("kill -USR1 $$", b"usr1\n")
        self.check("echo x > f; echo y > f", err=b"bash: f: cannot overwrite existing file\n", code=1)

    def test_jobs(self):
        self.check("sleep 30 & echo s", b"s\n")
        self.assertEqual(self.client.channel(1).done[4], 1)
        self.check("jobs", b"[1]+  Running                 sleep 30 &\n")
        self.check("kill %1; wait %1", code=143)
        self.check("sleep 0.1 & wait $!; echo $?", b"0\n")


class ShellDeath(Case):
    def test_codes(self):
        self.check("cd /usr; V=kept; f() { echo $V; }; alias ll='echo alias'; shopt -s nullglob; umask 077; set -f")
        cases = [("set -e; false; echo no", b"", 1), ("exit 3", b"", 3), ("kill -9 $$", b"", 137), ("exit", b"", 0)]
        cases += [("exec sh -c 'echo E; exit 5'", b"E\n", 5), ("trap 'echo bye' EXIT; exit 4", b"bye\n", 4)]
        cases += [("echo a; kill -TERM $$; kill -HUP $$; sleep 1", b"a\n", 129), ("exec true", b"", 0)]
        for command, out, code in cases:
            start = time.monotonic()
            self.check(command, out, b"", code, 1)
            self.assertLess(time.monotonic() - start, 1.5)
            self.check("pwd; f; ll; shopt nullglob; umask", b"/usr\nkept\nalias\nnullglob       \ton\n0077\n")
            self.check("case $- in *f*) echo noglob;; esac", b"noglob\n")
        self.assertEqual(len({s[0] for s in self.client.shells}), len(cases) + 1)

    def test_dangerous_options_are_not_restored(self):
        self.check("set -eu -o pipefail")
        self.check("false", code=1, how=1)
        self.check("echo $x; false; case $- in *[eu]*) echo bad;; esac; set -o | grep pipefail", b"\npipefail       \ton\n")

    def test_odd_state_is_restored(self):
        self.check("readonly R='a b'; declare -i n=3; x=$'new\\nline'; g() { [[ $1 == @(a|b) ]] && echo glob; }; export -f g")
        self.check("shopt -s extglob; h() { [[ $1 == @(a|b) ]] && echo glob; }; declare -x E=; y='declare -x z=\"1\"'; TMOUT=100")
        self.check("exit 1", code=1, how=1)
        self.check('echo "$R/$n/$x/$y/${E-unset}/$TMOUT"; h a; bash -c "g b"', b"a b/3/new\nline/declare -x z=\"1\"//\nglob\nglob\n")
        self.check("R=1", err=b"bash: R: readonly variable\n", code=1)

    def test_large_state(self):
        self.check("a=$(head -c 500000 /dev/zero | tr '\\0' a); f() { echo f; }")
        self.check("exit 1", code=1, how=1)
        self.check("echo ${#a}; f", b"500000\nf\n")
        self.check("b=$a$a$a; c=3; m=($'x\\ny' \"$b\" '\"'); n='\"'\"'\\n\"; alias g='echo g'; set -o pipefail")
        self.check("exit 1", code=1, how=1)
        self.check("echo ${#a} ${#b} $c ${#m[@]} $n; f; g; false | true", b"500000 0 3 0 \"'\\n\nf\ng\n", code=1)

    def test_directory_is_gone(self):
        self.check("mkdir d; cd d; rmdir ../d; pwd", self.directory.name.encode() + b"/d\n")
        self.assertEqual(self.client.channel(self.client.next).done[5], self.directory.name + "/d")
        self.check("exit 1", code=1, how=1)
        self.check("pwd; echo $PWD", (self.directory.name + "\n").encode() * 2)

    def test_idle_death(self):
        self.check("V=1; cd /usr; (sleep 0.2; kill -9 $$) &")
        self.client.until(lambda: len(self.client.shells) > 1)
        self.check("echo $V; pwd", b"1\n/usr\n")

    def test_short_lived_shells_do_not_spin(self):
        self.check("TMOUT=1")
        self.client.pump(3)
        before = len(self.client.shells)
        self.client.pump(1.5)
        self.assertLessEqual(len(self.client.shells) - before, 1)
        self.check_ok()

    def test_own_bash_without_a_shell(self):
        host = Host(PROGRAM, self.directory.name, shell=("/nosuch/bash",), wrapper=WRAPPER)
        client = host.client()
        if os.path.exists("/opt/berth/bash"):
            self.assertEqual(client.run("echo ok"), (b"ok\n", b"", 0, 0))
        else:
            self.assertEqual(client.run("echo ok"), (5, "No such file or directory"))
            self.assertEqual(client.run("echo ok"), (5, "No such file or directory"))
        self.assertEqual(host.stop(), 0)

    def test_background_process_outlives_the_shell(self):
        number = self.client.start("(sleep 0.3; echo late) & exit 2")
        self.client.finish(number)
        self.client.until(lambda: self.client.channel(number).streams[0].eof is not None)
        self.assertEqual((self.client.channel(number).done[:5], self.out(number)), ((1, 2, 0, 0, 1), b"late\n"))


class Carried(Case):
    """From one host to another, as when a container goes and another comes."""

    def setUp(self):
        super().setUp()
        self.others = []

    def tearDown(self):
        for host in self.others:
            self.assertEqual(host.stop(), 0)
        super().tearDown()

    def other(self, **options):
        self.others.append(Host(PROGRAM, options.pop("cwd", self.directory.name), shell=self.shell, wrapper=WRAPPER, **options))
        return self.others[-1].client()

    def move(self, **options):
        """What is checked next, is checked in another host that was given the state of this one."""
        packed = self.client.carry()
        self.client = self.other(**options)
        self.assertIsNone(self.client.give(packed))
        return packed

    def test_all_of_the_state(self):
        self.check("cd /usr/lib; export A=1; b=(x 'y z'); declare -A m=([k]=v); f() { echo f$1 $A; }; shopt -s nullglob; alias g='echo g'")
        self.check("umask 027; set -o noclobber; set -f; declare -i n=3; k() { :; }; export -f f; unset -f k; h='declare -- A=\"2\"'; cd /usr")
        self.move()
        self.check('pwd; echo "$A ${b[1]} ${m[k]} $h"; f 2; umask; bash -c "f 3"; n=1+1; echo $n', b'/usr\n1 y z v declare -- A="2"\nf2 1\n0027\nf3 1\n2\n')
        self.check("g; shopt nullglob; case $- in *C*) echo noclobber;; esac; cd -", b"g\nnullglob       \ton\nnoclobber\n/usr/lib\n")
        self.assertEqual([s[3] for s in self.client.shells], [self.directory.name, "/usr"])

    def test_odd_values(self):
        self.check("a=$'new\\nline \\'\"`$' b=$'\\377\\376\\1'; c=('' $'\\n' '*'); readonly R='a b'; declare -n r=a; declare -r -a ra=(1 2); d=; declare -x e")
        self.check("f() { cat <<'E'\n$x `y` \\\nE\n}; alias q='echo \"it'\\''s\"'")
        self.move()
        self.check('printf "%s|" "$a" "$b" "${c[@]}" "$R" "$r" "${ra[1]}" "${d-unset}"', b"new\nline '\"`$|\xff\xfe\x01||\n|*|a b|new\nline '\"`$|2||")
        self.check("f; q", b"$x `y` \\\nit's\n")
        self.check("R=1", err=b"bash: R: readonly variable\n", code=1)

    def test_the_new_environment_counts_unless_the_shell_changed_a_variable(self):
        odd = {"ODD": "q\"u$o`t\\e\n\t'é\x7f", "EMPTY": "", "GONE": "old", "SAME": "s", "TEMPLATE": "old", "CHANGED": "c", "UNSET": "u"}
        first, self.client = self.client, self.other(env=odd)
        first.close()
        self.check('export PATH="/venv/bin:$PATH" CHANGED=mine; unset UNSET; OWN=o; declare -i SAME_TOO=1; BASH_VERSION=old')
        packed = self.move(env={**odd, "ODD": "new", "EMPTY": "new", "TEMPLATE": "new", "GONE": "", "CHANGED": "new"})
        self.check('echo "$ODD $EMPTY $TEMPLATE $SAME $CHANGED $OWN $UNSET <$GONE> ${PATH%%:*}"', b"new new new s mine o u <> /venv/bin\n")
        self.check("[[ $BASH_VERSION == old ]]", code=1)
        for name in (b"ODD", b"EMPTY", b"GONE", b"SAME", b"TEMPLATE", b"HOME", b"BASH", b"HOSTTYPE"):
            self.assertNotIn(b" " + name + b"=", packed)

    def test_nothing_to_carry(self):
        self.assertEqual(self.client.carry(), b"")
        number = self.client.start("V=1; sleep 0.5")
        self.assertEqual(self.client.carry(), b"")
        self.client.finish(number)
        self.assertIn(b'declare -- V="1"\n', self.client.carry())
        number = self.client.start("sleep 0.2")
        self.assertEqual(self.client.carry(), b"")
        self.client.finish(number)
        self.assertIn(b'declare -- V="1"\n', self.client.carry())
        self.client.reset(False)
        self.assertEqual(self.client.carry(), b"")

    def test_the_last_command_counts(self):
        for i in range(50):
            self.client.run(f"V={i}; a=({'x ' * 2000})")
            self.assertIn(b'declare -- V="%d"\n' % i, self.client.carry())

    def test_a_shell_that_writes_no_more(self):
        self.check("V=1; cd /usr")
        self.check("V=2; cd /usr/lib; builtin() { :; }")
        self.move()
        self.check("echo $V; pwd", b"1\n/usr/lib\n")

    def test_what_was_given_can_be_carried_on(self):
        self.check("V=1; f() { echo f; }; cd /usr")
        packed = self.move()
        self.assertEqual(self.move(), packed)
        self.check("echo $V; f; pwd", b"1\nf\n/usr\n")
        self.check("V=2")
        self.move()
        self.check("echo $V; f; pwd", b"2\nf\n/usr\n")

    def test_a_death_after_it(self):
        self.check("V=1; cd /usr")
        self.move()
        os.kill(self.client.shells[-1][1], signal.SIGKILL)
        self.check("echo $V; pwd", b"1\n/usr\n")
        self.client.reset(False)
        self.check("echo $V; pwd", b"\n" + self.directory.name.encode() + b"\n")

    def test_the_directory_is_gone(self):
        self.check("V=1; mkdir d; cd d")
        packed = self.client.carry()
        self.check("rmdir ../d")
        self.client = self.other()
        self.assertIsNone(self.client.give(packed))
        self.check("pwd; echo $V", self.directory.name.encode() + b"\n1\n")
        self.assertEqual(self.client.shells[-1][3], self.directory.name)

    def test_large_state(self):
        self.check("a=$(head -c 1000000 /dev/zero | tr '\\0' a); f() { echo f; }")
        packed = self.move()
        self.assertGreater(len(packed), 1000000)
        self.check("echo ${#a}; f", b"1000000\nf\n")
        self.check("b=$a; c=3; alias g='echo g'")
        self.move()
        self.check("echo ${#a} ${#b} $c; f; g; umask", b"1000000 0 3\nf\ng\n0022\n")

    def test_what_does_not_fit_is_left_out_declaration_by_declaration(self):
        lines = b"declare -- A=no\n" * 65000
        values = {"double": b'"\\"' + lines + b'"', "single": b"'\"" + lines + b"'", "ansi": b"$'\\'" + lines + b"'"}
        for name, value in values.items():
            with self.subTest(name):
                variables = b'declare -- A="1"\ndeclare -- B=' + value + b'\ndeclare -- C=$\'3\\\'\'\ndeclare -a D=([0]="4\n")\n'
                self.client = self.other()
                self.assertIsNone(self.client.give(b"\0".join([b"/", b"umask 0027\n", b"", b"", variables, b"", b"set -o pipefail\n"]) + b"\0"))
                self.check('echo "$A|${B-unset}|$C|$D|$(umask)"; false | true', b"1|unset|3'|4\n|0027\n", code=1)

    def test_in_the_middle_of_a_flood(self):
        self.client.window = 1 << 24
        self.check("a=$(head -c 500000 /dev/zero | tr '\\0' a); (sleep 0.2; yes) &")
        flood = self.client.channel(1).streams[0]
        self.client.until(lambda: flood.next > 1000000)
        for _ in range(5):
            before = flood.next
            self.assertGreater(len(self.client.carry()), 500000)
            self.client.until(lambda: flood.next > before + 1000000)
        self.assertEqual((flood.dropped, bytes(flood.data[:100000])), (0, b"y\n" * 50000))
        self.client.signal(1, signal.SIGKILL, 2)

    def test_only_before_the_first_command(self):
        self.check("V=1")
        packed = self.client.carry()
        self.assertEqual(self.client.give(packed), 1)
        self.assertEqual(self.client.give(packed + bytes(2 << 20), 50000), 1)
        self.client.ping()
        self.assertEqual(len(self.client.shells), 1)
        self.check("echo $V", b"1\n")
        other = self.other()
        other.send(GIVE, struct.pack(">I", len(packed)) + packed[:10])
        number = other.start("V=2")
        other.finish(number)
        other.send(GIVE, struct.pack(">I", len(packed)) + packed[10:])
        other.until(lambda: other.channel(0).error)
        self.assertEqual((other.channel(0).error[0], other.run("echo $V")[0]), (1, b"2\n"))

    def test_what_is_no_snapshot_is_refused(self):
        sections = [b"umask 0077\n", b"", b"", b'declare -- V="1"\n', b"", b""]
        def packed(directory, sections=sections):
            return b"\0".join([directory, *sections]) + b"\0"

        bad = [b"\0", b"x", packed(b""), packed(b"usr"), packed(b"/usr")[:-1], packed(b"/usr") + b"\0", packed(b"/usr")[:-1] + b"x", packed(b"/usr", sections[1:]),
               packed(b"/usr", [*sections, b""]), packed(b"/" + b"x" * 4095), bytes(7), bytes(1000), b"/" * 1000, random.Random(5).randbytes(5000)]
        for data in bad:
            with self.subTest(data[:20]):
                self.assertEqual(self.client.give(data), 6)
        self.assertEqual(self.client.give(b"/" + bytes(1052678)), 3)
        self.assertEqual(self.client.give(b"/" + bytes(1052677)), 6)
        self.assertEqual(len(self.client.shells), 1)
        self.assertEqual(self.client.carry(), b"")
        self.assertIsNone(self.client.give(packed(b"/" + b"x" * 4094)))
        self.check("pwd; umask; echo $V", self.directory.name.encode() + b"\n0077\n1\n")
        self.check("umask 0022")

    def test_hostile_text(self):
        sections = [b"umask 0077; )", b"shopt -s $(", b"f() { ", b'declare -- V="1"\nexit 5; cat; read x\nkill -9 $$', b"alias a='", b"set -o errexit\nset -o monitor\nset -eu\n"]
        self.assertIsNone(self.client.give(b"\0".join([b"/$(touch oops)", *sections]) + b"\0"))
        self.client.run("true")
        self.client.reset(False)
        self.check("ls; umask; echo $V", b"0022\n\n")
        self.check_ok()

    def test_the_client_goes_in_the_middle(self):
        self.check("a=$(head -c 900000 /dev/zero | tr '\\0' a)")
        packed = self.client.carry()
        before = fds(self.pid()), rss_kib(self.pid())
        for _ in range(30):
            self.client.send(CARRY, struct.pack(">Q", 1))
            self.client.send(CARRY, struct.pack(">Q", 2))
            self.client.close()
            self.client = self.host.client()
        self.assertEqual(self.client.carry(), packed)
        if "ASAN" not in os.environ:
            self.assertLess(rss_kib(self.pid()) - before[1], 4000)
        other = self.other()
        other.send(GIVE, struct.pack(">I", len(packed)) + packed[:5000])
        other.close()
        other = self.others[0].client()
        self.assertIsNone(other.give(packed))
        self.assertEqual(other.run("echo ${#a}")[0], b"900000\n")

    def test_a_later_request_takes_the_place_of_the_one_before(self):
        self.check("a=$(head -c 900000 /dev/zero | tr '\\0' a)")
        for cookie in range(10, 20):
            self.client.send(CARRY, struct.pack(">Q", cookie))
        packed = self.client.carry(20)
        self.assertGreater(len(packed), 900000)
        self.assertTrue(all(packed.startswith(bytes(data)) for _, data in self.client.snapshots.values()))


class Input(Case):
    def test_is_at_its_end(self):
        self.check("read x", code=1)
        self.check("cat; head -c 1; echo done", b"done\n")
        self.check("test -t 0 || test -t 1 || test -t 2 || echo none", b"none\n")
        out, err, code, how = self.client.run("echo x > /dev/tty", seconds=2)
        self.assertEqual((out, err, code), (b"", b"bash: /dev/tty: No such device or address\n", 1))
        self.check("exec 3<&0; cat <&3", b"")
        self.check_ok()


class Bytes(Case):
    def test_exact(self):
        self.check("printf 'a\\r\\nb\\0\\1\\377'", b"a\r\nb\0\1\377")
        data = random.Random(1).randbytes(1 << 20)
        open(self.directory.name + "/r", "wb").write(data)
        self.check("cat r; cat r >&2", data, data)
        self.check("printf %10000s x", b" " * 9999 + b"x")

    def test_flood(self):
        number = self.client.start("head -c 100000000 /dev/zero; echo end >&2")
        channel = self.client.finish(number, 60)
        self.assertEqual((channel.done[:4], channel.streams[0].dropped), ((0, 0, 100000000, 4), 0))
        self.assertEqual(len(channel.streams[0].data), 100000000)


class Forging(Case):
    def test_output_means_nothing(self):
        forged = "printf '\\0\\0\\0\\6\\207...bash: ((: 1 + 0 / 0 , 1 / 1 : division by 0\\n\\033]133;D;0\\a'; false"
        self.assertEqual(self.client.run(forged)[2:], (1, 0))
        self.check_ok()

    def test_writing_to_the_door(self):
        junk = "for i in {0..30}; do (timeout 1 sh -c 'echo \"((: 5 + 0 / 0 , 1 / 5 : junk\" >/proc/$1/fd/$2' - DOOR $i); done 2>/dev/null; false"
        self.client.run(junk.replace("DOOR", str(self.door())), seconds=60)
        self.check_ok()
        self.check("(exit 7)", code=7)

    def test_host_is_closed(self):
        if os.getuid() == 0:
            self.skipTest("root may look at everything")
        pid = self.pid()
        self.check(f"cat /proc/{pid}/environ /proc/{pid}/mem 2>/dev/null; ls /proc/{pid}/fd 2>/dev/null", code=2)
        self.check(f"echo x >/proc/{pid}/fd/1", err=b"bash: /proc/%d/fd/1: Permission denied\n" % pid, code=1)


class Background(Case):
    def test_output_is_attributed(self):
        first = self.client.start("(sleep .3; echo late) &")
        self.client.finish(first)
        self.assertEqual(self.client.channel(first).done[:5], (0, 0, 0, 0, 1))
        self.check("sleep .6; echo second", b"second\n")
        self.assertEqual(self.out(first), b"late\n")
        self.assertEqual(self.client.channel(first).streams[0].eof, 5)

    def test_eof_comes_before_done_when_nothing_is_left(self):
        self.check("echo a; echo b >&2", b"a\n", b"b\n")
        streams = self.client.channel(self.client.next).streams
        self.assertEqual((streams[0].eof, streams[1].eof, self.client.channel(self.client.next).done[4]), (2, 2, 0))

    def test_nohup_and_disown(self):
        self.check("nohup sleep 31 >/dev/null 2>&1 & sleep 32 >/dev/null 2>&1 & disown -a; (setsid sleep 33 &) >/dev/null 2>&1")
        time.sleep(0.1)
        self.assertEqual(self.client.ping()[0], 3)
        number = self.client.start("sleep 100")
        time.sleep(0.2)
        self.assertEqual(self.interrupt(number)[:2], (0, 130))
        self.assertEqual(self.client.ping()[0], 3)
        self.client.signal(1, signal.SIGKILL, 2)
        self.assertEqual(self.client.ping()[0], 0)

    def test_many_writers_block_nothing(self):
        for _ in range(20):
            self.check("(while :; do sleep 0.05; echo x; done) &")
        self.check_ok()
        for number in range(1, 21):
            self.client.signal(number, signal.SIGKILL, 2)
        self.client.until(lambda: all(self.client.channel(n).streams[0].eof is not None for n in range(1, 21)))
        self.assertEqual(self.client.ping()[0], 0)

    def test_a_forgotten_writer_is_not_broken(self):
        number = self.client.start("(trap '' PIPE; sleep .2; for i in {1..50000}; do echo xxxxxxxxxx || exit; done; echo $? > end) &")
        self.client.finish(number)
        self.client.forget(number)
        for _ in range(100):
            time.sleep(0.05)
            if os.path.exists(self.directory.name + "/end") and os.path.getsize(self.directory.name + "/end"):
                break
        self.assertEqual(open(self.directory.name + "/end").read(), "0\n")
        self.assertEqual(bytes(self.client.channel(number).streams[0].data), b"")


HOSTILE = """
PS1=x PS2=y PS0=z PS4=w PROMPT_COMMAND='echo prompt; false'
trap 'echo debug; echo debug >&2' DEBUG
trap 'echo exit' EXIT
trap 'echo err >&9' ERR; false
trap 'echo ret >&9' RETURN
set -v
IFS=x; set -f
IFS=0123456789+/:
set -o posix
set -o vi
set -o emacs
set -m
set -C; umask 777
unset -f $(compgen -A function); unalias -a
builtin() { :; }
printf() { :; }; declare() { :; }; alias() { :; }; set() { :; }; umask() { :; }
command() { :; }; test() { :; }; [() { :; }; exit() { :; }
alias builtin=false printf=false declare=false .=false [[='echo [['
enable -n builtin printf declare
shopt -s extdebug
readonly PS1 PROMPT_COMMAND IFS PWD OLDPWD SHELLOPTS
unset PIPESTATUS
exec >/tmp/berth-lost
exec 2>/tmp/berth-lost
exec >&- 2>&-
exec 0</dev/zero
stty raw </dev/null
printf '\\033[?1049h'
cd /; mkdir -p /tmp/berth-gone; cd /tmp/berth-gone; rmdir /tmp/berth-gone
ulimit -c 0; ulimit -n 64
exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-
history -c; set -o history; set -H
LANG=de_DE.UTF-8; LC_ALL=de_DE.UTF-8
unset PATH HOME PWD TERM
BASH_ENV=/nonexistent ENV=/nonexistent
hash -r; shopt -s failglob nocaseglob; cd /
POSIXLY_CORRECT=y
set -k; set -a; set -P
trap '' INT QUIT TERM HUP
""".strip().splitlines()


class Hostile(Case):
    def test_every_state(self):
        for line in HOSTILE:
            with self.subTest(line):
                self.client.reset(False)
                self.client.run(line, seconds=5)
                out, err, code, how = self.client.run("echo ok; (\\exit 3)", seconds=5)
                if "exit()" not in line:
                    self.assertEqual((out.replace(b"debug\n", b""), code, how), (b"ok\n", 3, 0))
                else:
                    self.assertEqual(out, b"ok\n")
                self.assertEqual(self.client.run("(cd /; pwd)", seconds=5)[0].replace(b"debug\n", b""), b"/\n")
        if os.path.exists("/tmp/berth-lost"):
            os.remove("/tmp/berth-lost")

    def test_the_dot_is_overridden(self):
        self.check("cd /usr; V=1; .() { echo no; }")
        self.check("echo ok $V; pwd", b"no\nok 1\n/usr\n")
        self.check("enable -n .")
        self.assertEqual(self.client.run("echo ok $V")[0], b"ok 1\n")
        self.check("enable -n . source builtin enable unset")
        self.assertEqual(self.client.run("echo ok")[0], b"ok\n")

    def test_descriptors_are_closed(self):
        self.check("V=1; cd /usr; f() { echo f; }")
        for _ in range(3):
            before = len(self.client.order)
            self.check("for i in {3..254}; do eval \"exec $i>&-\"; done 2>/dev/null")
            self.client.until(lambda: len(self.client.order) > before + 1)
            self.assertEqual(self.client.order[before:], ["done", "shell"])
        self.check("echo ok $V; f; pwd", b"ok 1\nf\n/usr\n")

    def unreported(self, command):
        """A shell that can no longer report is killed when the time is up; the next one is sound."""
        number = self.client.start(command)
        channel = self.client.channel(number)
        self.client.pump(0.4)
        if not channel.done:
            self.client.signal(number, signal.SIGKILL, 0)
        self.client.finish(number)
        number = self.client.start("true")
        self.client.pump(0.4)
        if not self.client.channel(number).done:
            self.client.signal(number, signal.SIGKILL, 0)
        self.client.finish(number)
        self.client.reset(False)
        self.check_ok()

    def test_shells_that_cannot_report(self):
        self.unreported("ulimit -n 3; echo x")
        self.unreported("shopt -s extdebug; trap 'false' DEBUG")
        self.unreported("PROMPT_COMMAND='read x'")
        self.unreported("PROMPT_COMMAND='while read x; do :; done'")

    def test_xtrace(self):
        self.check("set -x; echo a", b"a\n", b"++ echo a\n")
        self.check("echo b", b"b\n", b"++ echo b\n")
        self.check("set +x", err=b"++ set +x\n")
        self.check("exec 9>trace; BASH_XTRACEFD=9; set -x")
        self.check_ok()

    def test_unset_variable(self):
        self.check("set -u; echo $x; echo no", err=b"bash: x: unbound variable\n", code=1)
        self.check("set +u; ${x?gone}; echo no", err=b"bash: x: gone\n", code=1)
        self.check_ok()

    def test_kill_everything(self):
        if "ALONE" not in os.environ:
            self.skipTest("only where nothing else is to be killed")
        self.check("kill -9 -1; (exit 6)", code=6)
        self.check_ok()

    def test_the_door_is_killed(self):
        for _ in range(5):
            os.kill(self.door(), signal.SIGKILL)
            out, err, code, how = self.client.run("echo ok")  # bash may say that it found no door, before it is asked again
            self.assertEqual((out, code, how), (b"ok\n", 0, 0))
        for code in (0, 1, 77):
            self.check(f"kill -9 {self.door()}; (exit {code})", code=code)
            self.check(f"kill -9 {self.door()}; sleep .1; (exit {code})", code=code)
            self.check("exit 3", code=3, how=1)
            self.check_ok()

    def test_the_door_is_stopped(self):
        os.kill(self.door(), signal.SIGSTOP)
        self.check_ok()
        self.check("(exit 5)", code=5)

    def test_the_shell_is_stopped(self):
        self.check("V=1")
        number = self.client.start("kill -STOP $$; echo no")
        time.sleep(0.3)
        done = self.interrupt(number)
        self.assertEqual(done[0], 1)
        self.check("echo $V", b"1\n")


class Timeouts(Case):
    def timed_out(self, command, delay=0.3):
        number = self.client.start(command)
        self.client.pump(delay)
        self.assertIsNone(self.client.channel(number).done)
        start = time.monotonic()
        done = self.interrupt(number)
        self.assertLess(time.monotonic() - start, 3)
        return done

    def test_sleep(self):
        self.check("cd /usr; V=1; sleep 50 &")
        self.assertEqual(self.timed_out("echo part; sleep 100; echo never")[:2], (0, 130))
        self.assertEqual(self.out(self.client.next), b"part\n")
        self.check("pwd; echo $V; jobs", b"/usr\n1\n[1]+  Running                 sleep 50 &\n")
        self.check("kill %1 && echo alive", b"alive\n")

    def test_loops(self):
        for command in ("while :;do :;done", "while :; do sleep 100; done", "yes >/dev/null", "sleep 100 | sleep 100",
                        "bash -c 'trap \"\" INT; sleep 100 & wait; sleep 100'",
                        "bash -c 'trap \"\" INT TERM QUIT HUP; while :; do sleep 1; done'",
                        "(setsid sleep 77 &); sleep 100", "x=$(sleep 100)", "for i in {1..100}; do sleep 1; done"):
            with self.subTest(command):
                self.check("V=7")
                done = self.timed_out(command)
                self.assertEqual(done[0], 0)
                self.check("echo $V", b"7\n")

    def test_a_loop_that_ignores_everything(self):
        self.check("V=1")
        done = self.timed_out("trap '' INT TERM; while :; do :; done")
        self.assertEqual(done[0], 1)
        self.check("echo $V", b"1\n")

    def test_interrupts_at_any_time(self):
        generator = random.Random(2)
        self.check_ok()
        for i in range(200):
            number = self.client.start(f"true; (exit {i % 100})", status=generator.choice([0, 1, 3]))
            time.sleep(generator.random() * 0.003)
            self.client.signal(number, signal.SIGINT, 0)
            channel = self.client.finish(number, 5)
            self.assertIn(channel.done[:2], [(0, i % 100), (0, 130), (2, 130)])
            if channel.done[0] == 2:
                self.client.until(lambda: len(self.client.shells) > 1, 2)
                self.client.shells.pop()
        self.check_ok()
        self.assertEqual({s[0] for s in self.client.shells}, {1})

    def test_fork_bomb(self):
        number = self.client.start("ulimit -u 400 2>/dev/null; f() { sleep 100 & sleep 100 & }; for i in {1..100}; do f; done; wait")
        self.client.pump(1)
        self.interrupt(number)
        self.client.signal(number, signal.SIGKILL, 2)
        self.assertEqual(self.client.ping()[0], 0)
        self.check_ok()


class Reset(Case):
    def test_clean(self):
        self.check("cd /usr; V=1; f() { :; }; sleep 60 & sleep 61 >/dev/null & (setsid sleep 62 &)")
        number = self.client.start("sleep 100")
        self.client.pump(0.2)
        self.client.reset(False)
        channel = self.client.finish(number)
        self.assertEqual(channel.done[:2], (1, 137))
        self.check("pwd; echo $V; type f 2>/dev/null; jobs", self.directory.name.encode() + b"\n\n")
        self.assertEqual(self.client.ping(), (0, 0))

    def test_keep(self):
        self.check("cd /usr; V=1")
        time.sleep(0.1)
        self.client.reset(True)
        self.check("pwd; echo $V", b"/usr\n1\n")
        self.client.reset(True)
        self.client.reset(False)
        self.client.reset(True)
        self.check("pwd; echo $V", self.directory.name.encode() + b"\n\n")

    def test_terminals_stay(self):
        terminal = self.client.open(["sleep", "100"])
        self.client.reset(False)
        self.check_ok()
        self.assertEqual(self.client.ping(), (1, 1))
        self.assertIsNone(self.client.channel(terminal).done)


class Flow(Case):
    def test_no_credit_blocks_the_writer_and_costs_nothing(self):
        self.client.window = 0
        number = self.client.start("head -c 50000000 /dev/zero; echo end >&2", window=100000)
        self.client.pump(1)
        self.assertEqual(len(self.out(number)), 100000)
        ticks, rss = cpu_ticks(self.pid()), rss_kib(self.pid())
        self.client.pump(1)
        self.assertLessEqual(cpu_ticks(self.pid()) - ticks, 2)
        self.assertIsNone(self.client.channel(number).done)
        self.client.window = 1 << 20
        self.client.credit(number, 0, 1 << 40)
        channel = self.client.finish(number)
        self.assertEqual((len(self.out(number)), channel.streams[0].dropped, channel.done[2]), (50000000, 0, 50000000))

    def test_a_client_that_does_not_read(self):
        number = self.client.start("yes", window=0xFFFFFFFF)
        time.sleep(1)
        ticks = cpu_ticks(self.pid())
        time.sleep(1)
        self.assertLessEqual(cpu_ticks(self.pid()) - ticks, 2)
        if "ASAN" not in os.environ:
            self.assertLess(rss_kib(self.pid()), 40000)
        self.interrupt(number)
        self.check_ok()

    def test_nobody_follows(self):
        number = self.client.start("sleep .2; head -c 5000000 /dev/zero | tr '\\0' a; printf end; echo e >&2; (exit 9)")
        self.client.close()
        time.sleep(1.5)
        self.client = self.host.client()
        kind, ended, oldest, end, eof, oldest_err, end_err, eof_err = self.client.known[number]
        self.assertEqual((kind, ended, end, eof, end_err, eof_err), (1, 1, 5000003, 1, 2, 1))
        self.assertEqual(oldest, 5000003 - (1 << 20))
        self.client.follow(number, 0, 0, 1 << 40)
        self.client.follow(number, 1, 0, 1 << 40)
        self.client.channel(number).streams[0].next = 0
        channel = self.client.channel(number)
        self.client.until(lambda: channel.done and channel.streams[0].eof and channel.streams[1].eof)
        self.assertEqual(channel.done[:4], (0, 9, 5000003, 2))
        self.assertEqual((channel.streams[0].dropped, bytes(channel.streams[0].data)), (oldest, b"a" * ((1 << 20) - 3) + b"end"))

    def test_attached_again_in_the_middle(self):
        number = self.client.start("for i in {1..40}; do echo line $i; sleep 0.02; done")
        got = b""
        for _ in range(6):
            self.client.pump(0.1)
            got += self.out(number)
            boot = self.client.greeting[1]
            self.client.close()
            time.sleep(0.02)
            self.client = self.host.client()
            self.assertEqual((self.client.greeting[1], self.client.greeting[2]), (boot, number))
            self.client.follow(number, 0, len(got), 1 << 40)
        channel = self.client.channel(number)
        self.client.until(lambda: channel.done and channel.streams[0].eof is not None)
        self.assertEqual(got + self.out(number), b"".join(b"line %d\n" % i for i in range(1, 41)))

    def test_output_that_was_sent_can_be_had_again(self):
        self.check("seq 1 1000", b"".join(b"%d\n" % i for i in range(1, 1001)))
        self.client.close()
        self.client = self.host.client()
        self.assertEqual(self.client.known[1][2:5], (0, 3893, 1))
        self.client.follow(1, 0, 0, 1 << 40)
        channel = self.client.channel(1)
        self.client.until(lambda: channel.done and channel.streams[0].eof == 3893)
        self.assertEqual(len(channel.streams[0].data), 3893)

    def test_ended_output_has_a_bound(self):
        for _ in range(12):
            self.client.run("head -c 1000000 /dev/zero")
        self.client.close()
        self.client = self.host.client()
        held = sum(fields[3] - fields[2] for fields in self.client.known.values())
        self.assertLessEqual(held, 4 << 20)
        self.assertGreater(held, 1 << 20)
        self.client.forget(12)
        self.client.ping()

    def test_known_channels_have_a_bound(self):
        for _ in range(300):
            self.client.run("true")
        self.client.close()
        self.client = self.host.client()
        self.assertEqual((len(self.client.known), min(self.client.known), max(self.client.known)), (256, 45, 300))
        self.client.follow(1, 0, 0, 0)
        self.client.until(lambda: self.client.channel(1).error)
        self.assertEqual(self.client.channel(1).error[0], 2)
        self.check_ok()

    def test_many_streams_at_once(self):
        for i in range(30):
            self.check(f"(sleep 0.3; head -c 300000 /dev/zero | tr '\\0' {chr(65 + i % 26)}) &")
        self.client.until(lambda: all(self.client.channel(n).streams[0].eof is not None for n in range(1, 31)))
        for i in range(30):
            self.assertEqual(self.out(i + 1), chr(65 + i % 26).encode() * 300000)
        self.gone()


class Terminals(Case):
    def shown(self, number, wanted, seconds=10):
        stream = self.client.channel(number).streams[0]
        self.client.until(lambda: wanted in stream.data, seconds)
        return bytes(stream.data)

    def test_size_input_and_code(self):
        number = self.client.open(["sh", "-c", "stty size; read x; echo got $x; exit 7"], 33, 111)
        self.shown(number, b"33 111\r\n")
        self.client.input(number, b"abc\r")
        channel = self.client.finish(number)
        self.assertEqual(bytes(channel.streams[0].data), b"33 111\r\nabc\r\ngot abc\r\n")
        self.assertEqual((channel.done[:3], channel.input_done), ((3, 7, 22), 4))

    def test_environment_and_directory(self):
        arguments = ["sh", "-c", 'echo "$A $B $PWD $TERM"; tty | cut -c1-9; ls /proc/self/fd | wc -l']
        number = self.client.open(arguments, cwd="/usr", env=["A=1", "TERM=xterm-256color", "B=x=y"])
        self.client.finish(number)
        self.assertEqual(self.out(number), b"1 x=y /usr xterm-256color\r\n/dev/pts/\r\n4\r\n")

    def test_resize(self):
        number = self.client.open(["sh", "-c", "trap 'stty size; exit' WINCH; echo r; while :; do sleep 0.05; done"])
        self.shown(number, b"r\r\n")
        self.client.send(6, struct.pack(">IHH", number, 50, 132))
        self.client.finish(number)
        self.assertEqual(self.out(number), b"r\r\n50 132\r\n")

    def test_keys(self):
        number = self.client.open(["sh", "-c", "stty raw -echo; echo ready; dd bs=1 count=8 2>/dev/null | od -An -tx1"])
        self.shown(number, b"ready")
        self.client.input(number, bytes([3, 4, 28, 16, 16, 17, 19, 0]))
        self.client.finish(number)
        self.assertIn(b" 03 04 1c 10 10 11 13 00", self.out(number))

    def test_interrupt_key(self):
        number = self.client.open(["cat"])
        self.client.input(number, b"\x03")
        self.client.finish(number)
        self.assertEqual(self.client.channel(number).done[:2], (3, 130))

    def test_could_not_start(self):
        number = self.client.open(["/nosuch"])
        self.client.finish(number)
        self.assertEqual(self.client.channel(number).error, (5, "No such file or directory"))
        number = self.client.open(["sh"], cwd="/nosuch")
        self.client.finish(number)
        self.assertEqual(self.client.channel(number).error[0], 5)

    def test_default_shell(self):
        number = self.client.open([], env=["PS1=> "])
        self.client.input(number, b"echo $((6*7)); exit 4\n")
        self.client.finish(number)
        self.assertIn(b"42\r\n", self.out(number))
        self.assertEqual(self.client.channel(number).done[1], 4)

    def test_signals(self):
        number = self.client.open(["bash", "--norc", "-i"], env=["PS1=> "])
        self.shown(number, b"> ")
        self.client.input(number, b"sleep 100\n")
        time.sleep(0.3)
        self.client.signal(number, signal.SIGINT, 1)
        self.client.input(number, b"echo next $?\n")
        self.shown(number, b"next 130\r\n")
        self.client.input(number, b"sleep 100 & setsid sleep 100 & (sleep 100 &)\n")
        time.sleep(0.3)
        self.assertEqual(self.client.ping(), (4, 1))
        self.client.signal(number, signal.SIGKILL, 2)
        self.assertEqual(self.client.finish(number).done[:2], (3, 137))
        self.gone()

    def test_forget_hangs_up_then_kills(self):
        polite = self.client.open(["sh", "-c", "trap 'echo bye > bye; exit' HUP; echo r; while :; do sleep 0.05; done"], cwd=self.directory.name)
        rude = self.client.open(["sh", "-c", "trap '' HUP TERM; echo r; while :; do sleep 0.05; done"])
        self.shown(polite, b"r"), self.shown(rude, b"r")
        before = fds(self.pid())
        self.client.forget(polite), self.client.forget(rude)
        time.sleep(0.5)
        self.assertTrue(os.path.exists(self.directory.name + "/bye"))
        self.assertEqual(self.client.ping()[1], 1)
        self.client.pump(2.2)
        self.assertEqual(self.client.ping(), (0, 0))
        self.assertEqual(fds(self.pid()), max(0, before - 4))

    def test_output_before_the_end(self):
        for _ in range(20):
            number = self.client.open(["sh", "-c", "seq 1 2000; exit 3"])
            channel = self.client.finish(number)
            self.assertEqual(self.out(number), b"".join(b"%d\r\n" % i for i in range(1, 2001)))
            self.assertEqual(channel.done[:3], (3, 3, 10893))

    def test_a_background_process_keeps_the_terminal(self):
        number = self.client.open(["bash", "-c", "trap '' HUP; (sleep 0.5; echo late) & echo now"])
        channel = self.client.finish(number)
        self.assertEqual(bytes(channel.streams[0].data), b"now\r\n")
        ticks = cpu_ticks(self.pid())
        self.client.until(lambda: channel.streams[0].eof is not None)
        self.assertEqual(bytes(channel.streams[0].data), b"now\r\nlate\r\n")
        self.assertLessEqual(cpu_ticks(self.pid()) - ticks, 2)

    def test_flood_is_bounded_and_goes_on(self):
        self.client.window = 0
        number = self.client.open(["sh", "-c", "stty raw; yes | head -c 3000000"], window=50000)
        self.client.pump(0.7)
        self.assertEqual(len(self.out(number)), 50000)
        ticks = cpu_ticks(self.pid())
        self.client.pump(0.7)
        self.assertLessEqual(cpu_ticks(self.pid()) - ticks, 2)
        self.client.window = 1 << 20
        self.check_ok()
        self.client.credit(number, 0, 1 << 40)
        self.client.finish(number)
        self.assertEqual(self.out(number), b"y\n" * 1500000)

    def test_too_much_input_closes_the_connection(self):
        number = self.client.open(["sh", "-c", "stty raw; echo ready; sleep 100"])
        self.shown(number, b"ready")
        with self.assertRaises((Closed, ConnectionError)):
            for _ in range(40):
                self.client.input(number, b"x" * 8192)
                self.client.pump(0.01)
        self.client = self.host.client()
        self.check_ok()

    def test_large_input_in_steps(self):
        number = self.client.open(["sh", "-c", "stty raw -echo; echo ready; head -c 1000000 | md5sum"])
        self.shown(number, b"ready")
        data = random.Random(3).randbytes(1000000)
        channel, sent = self.client.channel(number), 0
        while sent < len(data):
            taken = channel.input_done or 0
            if sent - taken < 32768:
                self.client.input(number, data[sent : sent + 16384])
                sent += len(data[sent : sent + 16384])
            else:
                self.client.until(lambda: (channel.input_done or 0) > taken)
        self.client.finish(number)
        import hashlib
        self.assertIn(hashlib.md5(data).hexdigest().encode(), self.out(number))
        self.assertEqual(channel.input_done, 1000000)

    def test_many(self):
        numbers = [self.client.open(["sh", "-c", f"echo {i}; sleep 0.2"]) for i in range(50)]
        for i, number in enumerate(numbers):
            self.client.finish(number)
            self.assertEqual(self.out(number), b"%d\r\n" % i)
            self.client.forget(number)
        self.client.pump(2.2)
        self.assertEqual(self.client.ping(), (0, 0))

    def test_it_survives_the_client(self):
        number = self.client.open(["sh", "-c", "read a; echo $a; read b; echo $b"])
        self.client.input(number, b"one\n")
        self.shown(number, b"one\r\none\r\n")
        self.client.close()
        self.client = self.host.client()
        self.assertEqual(self.client.known[number][:4], (2, 0, 0, 10))
        self.client.follow(number, 0, 5, 1 << 40)
        self.client.input(number, b"two\n")
        self.client.finish(number)
        self.assertEqual(self.out(number), b"one\r\ntwo\r\ntwo\r\n")


class Connections(Case):
    def test_wrong_token(self):
        with self.assertRaises((Closed, ConnectionError)):
            self.host.client(token=bytes(32))
        self.check_ok()

    def test_the_newer_client_wins(self):
        number = self.client.start("sleep .3; echo done")
        newer = self.host.client()
        with self.assertRaises((Closed, ConnectionError)):
            self.client.pump(1)
        newer.follow(number, 0, 0, 1 << 40)
        newer.finish(number)
        self.assertEqual(bytes(newer.channel(number).streams[0].data), b"done\n")
        self.client = newer

    def test_strangers_are_few_and_brief(self):
        connections = [connect(self.host.name) for _ in range(10)]
        self.check_ok()
        time.sleep(0.1)
        dropped = 0
        for connection in connections:
            connection.settimeout(0.01)
            try:
                dropped += connection.recv(1) == b""
            except TimeoutError:
                pass
        self.assertEqual(dropped, 6)
        connections[-1].settimeout(7)
        self.assertEqual(connections[-1].recv(1), b"")
        self.check_ok()

    def test_malformed_frames_close_the_connection(self):
        def frame(kind, body=b""):
            return struct.pack(">IB", len(body) + 1, kind) + body

        run = struct.pack(">IBII", 100, 0, 0, 3)
        bad = [
            b"\0\0\0\0", b"\xff\xff\xff\xff", struct.pack(">I", 69633), frame(0), frame(15), frame(0x81), frame(HELLO, b"\1" + TOKEN),
            frame(RUN, run + b"abcd"), frame(RUN, run[:-1]), frame(RUN, run + b"ab") + frame(TEXT, struct.pack(">I", 100) + b"cd"),
            frame(TEXT, struct.pack(">I", 1) + b"x"), frame(RUN, struct.pack(">IBII", 0, 0, 0, 0)), frame(PING, b"1234567"), frame(PING, b"123456789"),
            frame(SIGNAL, struct.pack(">IBB", 1, 65, 0)), frame(SIGNAL, struct.pack(">IBB", 1, 0, 0)), frame(SIGNAL, struct.pack(">IBB", 1, 1, 3)),
            frame(8, struct.pack(">IBQ", 1, 2, 0)), frame(12, struct.pack(">IBQQ", 1, 2, 0, 0)), frame(10, b"\2"),
            frame(OPEN, struct.pack(">IHHII", 100, 1, 1, 0, 0) + b"/"), frame(OPEN, struct.pack(">IHHII", 100, 1, 1, 0, 0) + b"/\0sh\0"),
            frame(OPEN, struct.pack(">IHHII", 100, 1, 1, 0, 0) + b"/\0sh\0\0noequals\0"), frame(OPEN, struct.pack(">IHHII", 100, 1, 1, 0, 0) + b"/\0sh\0\0=x\0"),
            frame(RUN, run + b"ab") + frame(RUN, struct.pack(">IBII", 101, 0, 0, 0)),
            frame(CARRY, b"1234567"), frame(CARRY, b"123456789"), frame(GIVE, b"\0\0\0"), frame(GIVE, struct.pack(">I", 0)), frame(GIVE, struct.pack(">I", 9)),
            frame(GIVE, struct.pack(">I", 2) + b"abc"), frame(GIVE, struct.pack(">I", 3) + b"a") + frame(GIVE, struct.pack(">I", 4) + b"b"),
            frame(GIVE, struct.pack(">I", 3) + b"ab") + frame(GIVE, struct.pack(">I", 3) + b"cd"), frame(GIVE, struct.pack(">I", 1 << 20) + bytes(65537)),
        ]
        self.check_ok()
        for data in bad:
            with self.subTest(data[:40]):
                client = self.host.client()
                client.connection.sendall(data)
                with self.assertRaises((Closed, ConnectionError)):
                    client.pump(2)
                    self.fail("still open")
        self.client = self.host.client()
        self.check_ok()

    def test_unfinished_text_is_not_run(self):
        body = struct.pack(">IBII", 5, 0, 0, 100) + b"touch oops\n"
        self.client.send(RUN, body)
        self.client.close()
        self.client = self.host.client()
        self.assertEqual(self.client.greeting[2], 5)
        self.client.until(lambda: self.client.channel(5).done)
        self.assertEqual(self.client.channel(5).done[0], 2)
        self.check("ls oops", err=b"ls: cannot access 'oops': No such file or directory\n", code=2)

    def test_busy_refuses_with_all_parts(self):
        first = self.client.start("sleep 0.3")
        second = self.client.start("echo " + "x" * 200000)
        self.client.finish(second)
        self.assertEqual(self.client.channel(second).error[0], 1)
        self.client.finish(first)
        self.check_ok()

    def test_numbers_ascend(self):
        self.client.start("true", number=50)
        self.client.finish(50)
        with self.assertRaises((Closed, ConnectionError)):
            self.client.start("true", number=50)
            self.client.pump(1)
        self.client = self.host.client()

    def test_slow_and_split_frames(self):
        data = struct.pack(">IB", 19, RUN) + struct.pack(">IBII", 9, 0, 1000, 5) + b"pwd\n\n"
        self.assertEqual(len(data), 23)
        for i in range(len(data)):
            self.client.connection.sendall(data[i : i + 1])
            time.sleep(0.002)
        self.client.finish(9)
        self.assertEqual(self.out(9), self.directory.name.encode() + b"\n")

    def test_ping_flood_is_bounded(self):
        self.client.connection.settimeout(0.5)
        frames = (struct.pack(">IB", 9, PING) + bytes(8)) * 5000
        with self.assertRaises(TimeoutError):
            for _ in range(1000):
                self.client.connection.sendall(frames)
        if "ASAN" not in os.environ:
            self.assertLess(rss_kib(self.pid()), 40000)
        self.client = self.host.client()
        self.check_ok()

    def test_random_frames(self):
        generator = random.Random(int(os.environ.get("SEED", "4")))
        for _ in range(int(os.environ.get("ROUNDS", "300"))):
            client = self.host.client()
            client.connection.settimeout(0.05)
            try:
                for _ in range(generator.randrange(1, 20)):
                    client.connection.sendall(random_frame(generator, client))
            except (OSError, TimeoutError):
                pass
            client.close()
        self.client = self.host.client()
        self.client.reset(False)
        for number in self.client.known:
            self.client.forget(number)
        while self.client.run("true")[0] == 1:
            time.sleep(0.05)
        self.check_ok()

    def test_orphaned_host_ends(self):
        host = Host(PROGRAM, orphan=1, wrapper=WRAPPER)
        client = host.client()
        time.sleep(1.5)
        self.assertEqual(client.run("sleep 77 & echo ok")[0], b"ok\n")
        client.close()
        self.assertEqual(host.process.wait(10), 0)

    def test_attach(self):
        process = subprocess.Popen([PROGRAM, "attach", "--socket", self.host.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        process.stdin.write(struct.pack(">IB", 34, HELLO) + b"\1" + TOKEN)
        process.stdin.flush()
        self.assertEqual(process.stdout.read(4), struct.pack(">I", 15))
        process.stdin.close()
        self.assertEqual(process.wait(5), 0)
        process.stdout.close()
        process = subprocess.Popen([PROGRAM, "attach", "--socket", self.host.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.client = self.host.client()
        process.stdin.write(struct.pack(">IB", 34, HELLO) + b"\1" + bytes(32))
        process.stdin.flush()
        self.assertEqual((process.wait(5), process.stdout.read()), (0, b""))
        process.stdin.close(), process.stdout.close()


def random_frame(generator, client):
    kind = generator.randrange(0, 16)
    client.next += generator.choice([0, 1, 1, 1])
    fields = {
        RUN: struct.pack(">IBII", client.next, generator.randrange(256), generator.choice([0, 100, 1 << 20]), generator.choice([0, 4, 5, 9])),
        OPEN: struct.pack(">IHHII", client.next, 24, 80, 1000, generator.choice([0, 1, 1 << 31])) + b"/\0true\0\0A=1\0",
        8: struct.pack(">IBQ", client.next, generator.randrange(3), generator.getrandbits(generator.choice([8, 64]))),
        12: struct.pack(">IBQQ", client.next, generator.randrange(2), generator.getrandbits(generator.choice([4, 64])), generator.getrandbits(20)),
        SIGNAL: struct.pack(">IBB", client.next, generator.choice([1, 2, 15, 9, 64]), generator.randrange(3)),
        INPUT: struct.pack(">I", client.next) + b"x",
        FORGET: struct.pack(">I", client.next),
        10: bytes([generator.randrange(2)]),
        CARRY: struct.pack(">Q", generator.randrange(3)),
        GIVE: struct.pack(">I", generator.choice([1, 4, 1 << 20, 1 << 31])),
    }
    body = fields.get(kind, b"") + generator.choice([b"", b"", b"true", generator.randbytes(generator.randrange(20))])
    if kind not in fields:
        body = struct.pack(">I", client.next) + generator.randbytes(generator.randrange(40))
    if kind == SIGNAL and os.getpid() == 1:
        body = b""
    length = len(body) + 1 if generator.random() < 0.98 else generator.getrandbits(18)
    return struct.pack(">IB", length, kind) + body


class Leaks(Case):
    def test_many_commands(self):
        mixed = ["true", "echo x", "(exit 4)", "echo e >&2", "/bin/true", "x=$((x+1))", "true &", "exit 1", "echo \""]
        for command in mixed * 5:
            self.client.run(command)
        time.sleep(0.3)
        self.client.run("wait")
        pid = self.pid()
        before = fds(pid), fds(self.door()), rss_kib(pid)
        for i in range(COUNT):
            self.client.run(mixed[i % 7 if i % 100 else i // 100 % len(mixed)])
        self.client.run("wait")
        time.sleep(0.3)
        after = fds(pid), fds(self.door()), rss_kib(pid)
        self.assertEqual(before[:2], after[:2])
        self.assertLess(after[2] - before[2], 30000 if "ASAN" in os.environ else 3000)
        self.assertEqual(len(children(pid)), 2)
        self.assertEqual(self.client.ping(), (0, 0))
        print(f"\n{COUNT} commands: fds {before[0]} -> {after[0]}, RSS {before[2]} -> {after[2]} KiB", file=sys.stderr)

    def test_idle_host_does_nothing(self):
        self.check_ok()
        time.sleep(0.2)
        ticks = cpu_ticks(self.pid())
        time.sleep(1)
        self.assertEqual(cpu_ticks(self.pid()), ticks)


class Listener:
    """A program that listens: here, a thread of the test."""

    def __init__(self, serve=None, family=socket.AF_INET, address=("127.0.0.1", 0), backlog=1024):
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.bind(address)
        self.socket.listen(backlog)
        self.port = self.socket.getsockname()[1] if family != socket.AF_UNIX else 0
        self.serve, self.open = serve, True
        if serve:
            threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while self.open:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def close(self):
        self.open = False
        self.socket.close()


def echo(connection):
    with connection:
        while part := connection.recv(1 << 16):
            connection.sendall(part)


def answer_all(connection):
    """Says how much came, once all has."""
    count = 0
    with connection, contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            count += len(part)
        connection.sendall(b"%d" % count)


def flood(connection):
    with connection:
        try:
            while True:
                connection.sendall(bytes(1 << 16))
        except OSError:
            pass


def reset(connection):
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Dials(Case):
    def listener(self, *arguments, **options):
        listener = Listener(*arguments, **options)
        self.addCleanup(listener.close)
        return listener

    def closed(self, number, seconds=20):
        channel = self.client.channel(number)
        self.client.until(lambda: channel.closed is not None, seconds)
        return channel.closed[0]

    def push(self, number, data):
        """Sends within the room there is."""
        channel, at = self.client.channel(number), 0
        while at < len(data):
            self.client.until(lambda: channel.room > at)
            part = data[at : min(at + 65536, channel.room)]
            self.client.pass_on(number, part)
            at += len(part)

    def test_bytes_both_ways_and_an_orderly_end(self):
        number = self.client.dial(self.listener(echo).port)
        self.client.pass_on(number, b"hello")
        channel = self.client.channel(number)
        self.client.until(lambda: channel.streams[0].data == b"hello")
        self.assertTrue(channel.dialed)
        self.client.finish_sending(number)
        self.assertEqual(self.closed(number), 0)
        self.assertEqual(channel.streams[0].eof, 5)

    def test_half_close(self):
        number = self.client.dial(self.listener(answer_all).port)
        self.push(number, bytes(3_000_001))
        self.client.finish_sending(number)
        self.assertEqual(self.closed(number), 0)
        self.assertEqual(bytes(self.client.channel(number).streams[0].data), b"3000001")

    def test_refused_reset_and_failed_are_told_apart(self):
        self.assertEqual(self.closed(self.client.dial(free_port())), 1)
        number = self.client.dial(self.listener(reset).port)
        self.client.pass_on(number, b"x")
        self.assertEqual(self.closed(number), 2)
        self.assertEqual(self.closed(self.client.dial(0, family=3, path="relative")), 3)
        self.assertEqual(self.closed(self.client.dial(0, family=3, path="/" + "a" * 200)), 3)
        self.assertEqual(self.closed(self.client.dial(0, family=3, path="/nothing/here")), 1)

    def test_ipv6_alone_and_a_unix_socket(self):
        six = self.listener(echo, family=socket.AF_INET6, address=("::1", 0))
        path = os.path.join(self.directory.name, "socket")
        os.chmod(self.directory.name, 0o755)
        unix = self.listener(echo, family=socket.AF_UNIX, address=path)
        for number in [self.client.dial(six.port), self.client.dial(six.port, family=2), self.client.dial(0, 3, path)]:
            self.client.pass_on(number, b"six")
            channel = self.client.channel(number)
            self.client.until(lambda: channel.streams[0].data == b"six")
            self.client.finish_sending(number)
            self.assertEqual(self.closed(number), 0)
        self.assertEqual(self.closed(self.client.dial(six.port, family=1)), 1)
        self.assertEqual(unix.port, 0)

    def test_a_flood_stops_at_the_credit(self):
        number = self.client.dial(self.listener(flood).port, window=100_000)
        self.client.window = 0
        channel = self.client.channel(number)
        self.client.until(lambda: channel.streams[0].next == 100_000)
        before = cpu_ticks(self.host.process.pid)
        self.client.pump(0.5)
        self.assertEqual(channel.streams[0].next, 100_000)
        self.client.window = 1 << 20
        self.assertLess(cpu_ticks(self.host.process.pid) - before, 5)
        self.assertEqual(self.client.run("echo on")[0], b"on\n")
        self.client.cut(number)
        self.client.ping()
        self.assertIsNone(channel.closed)

    def test_a_program_that_reads_nothing_takes_no_more_than_the_room(self):
        silent = self.listener()
        number = self.client.dial(silent.port)
        channel = self.client.channel(number)
        sent = 0
        limit = time.monotonic() + 20
        while time.monotonic() < limit:
            while channel.room > sent:
                part = min(65536, channel.room - sent)
                self.client.pass_on(number, bytes(part))
                sent += part
            before = channel.room
            self.client.pump(0.3)
            if channel.room == before:
                break
        self.client.pass_on(number, b"")
        self.client.ping()
        with self.assertRaises((Closed, ConnectionError)):
            self.client.pass_on(number, b"x")
            self.client.ping()

    def test_hundreds_at_once(self):
        port = self.listener(echo).port
        numbers = [self.client.dial(port) for _ in range(400)]
        for number in numbers:
            self.client.pass_on(number, b"%d" % number)
        self.client.until(lambda: all(self.client.channel(n).streams[0].data == b"%d" % n for n in numbers), 60)
        for number in numbers:
            self.client.finish_sending(number)
        for number in numbers:
            self.assertEqual(self.closed(number), 0)

    def test_one_too_many(self):
        port = self.listener().port
        numbers = [self.client.dial(port) for _ in range(512)]
        self.assertEqual(self.closed(self.client.dial(port)), 3)
        for number in numbers:
            self.client.cut(number)
        number = self.client.dial(self.listener(echo).port)
        self.client.finish_sending(number)
        self.assertEqual(self.closed(number), 0)

    def test_they_end_with_the_client(self):
        ended = threading.Event()

        def wait(connection):
            try:
                connection.recv(1)
            except ConnectionResetError:
                ended.set()

        number = self.client.dial(self.listener(wait).port)
        channel = self.client.channel(number)
        self.client.until(lambda: channel.dialed)
        before = fds(self.host.process.pid)
        self.client.close()
        self.assertTrue(ended.wait(10))
        self.client = self.host.client()
        self.assertEqual(self.client.known, {})
        self.assertLessEqual(fds(self.host.process.pid), before)

    def test_hostile_frames(self):
        bad = [
            (DIAL, struct.pack(">IBHI", 1, 0, 0, 9) + b"\0"),
            (DIAL, struct.pack(">IBHI", 1, 4, 80, 9) + b"\0"),
            (DIAL, struct.pack(">IBHI", 1, 3, 80, 9) + b"/x\0"),
            (DIAL, struct.pack(">IBHI", 1, 0, 80, 9) + b"/x\0"),
            (DIAL, struct.pack(">IBHI", 1, 0, 80, 9)),
            (DIAL, struct.pack(">IBHI", 0, 0, 80, 9) + b"\0"),
            (PORTS, struct.pack(">QB", 1, 3)),
            (PORTS, struct.pack(">Q", 1)),
            (SEND, b"\0\0"),
        ]
        for kind, body in bad:
            client = self.host.client()
            with self.assertRaises((Closed, ConnectionError), msg=(kind, body)):
                client.send(kind, body)
                client.ping()
        self.client = self.host.client()
        self.client.pass_on(99, b"x")
        self.client.finish_sending(99)
        self.client.cut(99)
        self.client.credit(99, 0, 5)
        self.client.ping()

    def test_sending_after_the_end_is_a_breach(self):
        number = self.client.dial(self.listener(answer_all).port)
        self.client.finish_sending(number)
        with self.assertRaises((Closed, ConnectionError)):
            self.client.pass_on(number, b"x")
            self.client.ping()


SERVER = "python3 -c 'import socket,time; s=socket.create_server((\"127.0.0.1\", %d)); print(1, flush=True); time.sleep(60)'"


class Ports(Case):
    def test_what_listens_with_program_and_age(self):
        port = free_port()
        self.client.run(f"coproc {{ exec {SERVER % port}; }}; read <&\"${{COPROC[0]}}\"")
        where, pid, age, program = self.client.ports()[port]
        self.assertEqual((where, program), (1, "python3"))
        self.assertTrue(name_of(pid).startswith("python3"))
        self.assertLess(age, 30)

    def test_a_command_that_leaves_one_says_so_before_its_end(self):
        self.client.ports(watch=1)
        port = free_port()
        self.client.order.clear()
        self.client.run(f"coproc {{ exec {SERVER % port}; }}; read <&\"${{COPROC[0]}}\"")
        self.assertEqual(self.client.order[:2], ["listening", "done"])
        self.assertIn(port, self.client.listening[-1][1])
        self.client.run("kill $COPROC_PID; wait $COPROC_PID")
        self.assertNotIn(port, self.client.listening[-1][1])

    def test_one_that_comes_later_is_told_to_who_waits(self):
        self.client.ports(watch=2)
        port = free_port()
        self.client.start(f"sleep 0.5; {SERVER % port}")
        self.client.until(lambda: port in self.client.listening[-1][1])

    def test_nobody_waits_nobody_looks(self):
        self.client.ports(watch=1)
        before = cpu_ticks(self.host.process.pid)
        self.client.pump(1)
        self.assertEqual(cpu_ticks(self.host.process.pid), before)


if __name__ == "__main__":
    unittest.main(warnings="ignore")
