import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Runtime } from '../../src/sandbox/ports/runtime.ts';
import type { TerminalsPort } from '../../src/sandbox/ports/workspace.ts';
import { newInstance, sweep, testRuntime } from '../support/docker-runtime.ts';
import { shellSandbox } from '../support/shell-sandbox.ts';
import { notes } from '../support/scripted-session.ts';

const instance = newInstance();
let runtime: Runtime;

before(() => {
  runtime = testRuntime({ instance });
});

after(async () => {
  await runtime[Symbol.asyncDispose]();
  await sweep(instance);
});

const prompt = 'user@berth:~$ ';

/** A terminal with its prompt. */
async function shellIn(terminals: TerminalsPort, size: { cols?: number; rows?: number } = {}): Promise<string> {
  const { sessionId } = await terminals.start(size);
  assert.equal((await terminals.read(sessionId, { until: '\\$ $', wait: 10 })).matched, true);
  return sessionId;
}

async function screen(terminals: TerminalsPort, id: string): Promise<string> {
  return (await terminals.read(id, { mode: 'snapshot' })).output;
}

/** Types a line and waits until the screen shows what is expected. */
async function type(terminals: TerminalsPort, id: string, input: string, until: string): Promise<void> {
  await terminals.send(id, { input });
  assert.equal((await terminals.read(id, { mode: 'snapshot', wait: 10, until })).matched, true);
}

/** Prints the bytes it reads as hex, one line each call, without any meaning for them. */
const rawReader = `python3 -c "
import os, termios, tty
tty.setraw(0)
os.write(1, b'ready')
data = b''
while not data.endswith(b'.'): data += os.read(0, 100)
os.write(1, b'[' + data.hex().encode() + b']')
"`;

describe('terminals on a real container', { concurrency: 4 }, () => {
  test('vim: edit, save, and the screen from before is back', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { terminals, shell } = sandbox.host;
    const id = await shellIn(terminals, { cols: 40, rows: 8 });
    await terminals.send(id, { input: 'vim notes.txt' });
    const opened = await terminals.read(id, { until: 'notes\\.txt" \\[New\\]', wait: 10 });
    assert.deepEqual([opened.matched, opened.mode, opened.alternateScreen], [true, 'snapshot', true]);
    await terminals.send(id, { input: 'ihello wörld', raw: true, keys: ['enter', 'escape'] });
    await terminals.read(id, { until: '2,0-1|wörld', wait: 10 });
    await terminals.send(id, { input: ':wq' });
    const back = await terminals.read(id, { mode: 'snapshot', until: '\\$ $', wait: 10 });
    assert.equal(back.output, `${prompt}vim notes.txt\n${prompt}`);
    assert.deepEqual([back.alternateScreen, back.cursor], [false, { row: 1, col: 14 }]);
    const file = await shell.run('cat notes.txt');
    assert.equal(Buffer.from(file.stdout.head).toString(), 'hello wörld\n\n');
  });

  test('top is shown as rows', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { terminals } = sandbox.host;
    const { sessionId } = await terminals.start({ command: 'top' });
    const read = await terminals.read(sessionId, { mode: 'snapshot', until: 'COMMAND', wait: 10 });
    assert.match(read.output, /^top - .*\nTasks: /);
    assert.match(read.output, /\n +PID USER +PR +NI +VIRT +RES +SHR S +%CPU +%MEM +TIME\+ COMMAND *\n/);
    assert.doesNotMatch(read.output, /\x1b/);
    await terminals.send(sessionId, { keys: ['q'] });
    assert.equal((await terminals.read(sessionId, { wait: 5, until: 'zzz' })).exitCode, 0);
  });

  test('a progress bar, colours and wide characters are drawn', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { terminals } = sandbox.host;
    const { sessionId } = await terminals.start({
      command:
        "for i in 10 50 100; do printf '\\r%3d%%' $i; sleep 0.05; done; printf '\\n\\033[1;31mred\\033[0m 你好|\\n'; sleep 100",
    });
    const read = await terminals.read(sessionId, { mode: 'snapshot', until: '\\|', wait: 10 });
    assert.equal(read.output, '100%\nred 你好|');
  });

  test('a resize reaches the program', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { terminals } = sandbox.host;
    const id = await shellIn(terminals);
    await terminals.resize(id, 101, 31);
    await type(terminals, id, 'clear; stty size', '^31 101\n.*\\$ $');
    assert.equal(await screen(terminals, id), `31 101\n${prompt}`);
  });

  test('ctrl-c interrupts, ctrl-\\ quits, ctrl-d ends, and the code is told', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { terminals } = sandbox.host;
    const id = await shellIn(terminals);
    for (const key of ['ctrl-c', 'ctrl-\\']) {
      await terminals.send(id, { input: 'sleep 100' });
      await terminals.read(id, { wait: 1 });
      await terminals.send(id, { keys: [key] });
      assert.equal((await terminals.read(id, { until: '\\$ $', wait: 10 })).matched, true, key);
    }
    await terminals.send(id, { input: '(exit 9)', keys: ['ctrl-d'] });
    const end = await terminals.read(id, { wait: 10, until: 'zzz' });
    assert.deepEqual([end.exited, end.exitCode], [true, 9]);
  });

  test('every key reaches the program, those that Docker or the line discipline would eat too', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { terminals } = sandbox.host;
    const { sessionId } = await terminals.start({ command: rawReader });
    await terminals.read(sessionId, { until: 'ready', wait: 10 });
    const keys = [
      'ctrl-p',
      'ctrl-q',
      'ctrl-p',
      'ctrl-p',
      'ctrl-s',
      'ctrl-c',
      'ctrl-d',
      'ctrl-z',
      'ctrl-@',
      'up',
      'f5',
      '.',
    ];
    await terminals.send(sessionId, { keys });
    const read = await terminals.read(sessionId, { until: '\\]', wait: 10 });
    assert.equal(read.output, '[1011101013' + '0304' + '1a' + '00' + '1b5b41' + '1b5b31357e' + '2e]');
  });

  test('the program’s questions are answered', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { terminals } = sandbox.host;
    const script =
      "stty raw -echo; printf 'abc\\033[6n'; IFS= read -r -d R a; printf '\\033[c'; IFS= read -r -d c b; stty sane; printf '%q %q\\n' \"$a\" \"$b\"; sleep 100";
    const { sessionId } = await terminals.start({ command: script });
    const read = await terminals.read(sessionId, { mode: 'snapshot', until: '2', wait: 10 });
    assert.equal(read.output, "abc$'\\E[1;4' $'\\E[?1;2'");
  });

  test('a Makefile typed at a prompt keeps its tabs', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { terminals, shell } = sandbox.host;
    const id = await shellIn(terminals);
    const sent = await terminals.send(id, {
      input: "cat > Makefile <<'EOF'\nall:\n\t@echo made\nEOF\nmake; echo $((6*7))x",
    });
    assert.deepEqual(sent, { pasted: true, longLine: null });
    assert.equal((await terminals.read(id, { until: '^42x', wait: 10 })).matched, true);
    const file = await shell.run('cat Makefile');
    assert.equal(Buffer.from(file.stdout.head).toString(), 'all:\n\t@echo made\n');
  });

  test('a program that knows no paste gets lines as typed, and a line that the kernel cuts is told', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { terminals } = sandbox.host;
    const { sessionId } = await terminals.start({ command: 'stty -echo; echo ready; read -r a; echo "[${#a}]"; cat' });
    await terminals.read(sessionId, { until: 'ready', wait: 10 });
    const long = await terminals.send(sessionId, { input: 'x'.repeat(5000) });
    assert.deepEqual(long, { pasted: false, longLine: 5000 });
    assert.equal((await terminals.read(sessionId, { until: '\\[4095\\]', wait: 10 })).matched, true);
    assert.deepEqual(await terminals.send(sessionId, { input: 'a\n\tb' }), { pasted: false, longLine: null });
    const read = await terminals.read(sessionId, { mode: 'streaming', until: 'b', wait: 10 });
    assert.equal(read.output, 'a\r\n\tb\r\n');
  });

  test('the default read after a program that moved the cursor shows the screen with the lines since the last one', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { terminals } = sandbox.host;
    const id = await shellIn(terminals, { cols: 100, rows: 10 });
    await terminals.send(id, { input: 'seq 1 30; top -d 1 -n 2 | cat > /dev/null; top -d 0.3 -n 3; echo $((6*7))x' });
    const read = await terminals.read(id, { until: '^42x', wait: 10 });
    assert.deepEqual([read.matched, read.mode, read.alternateScreen], [true, 'snapshot', false]);
    assert.doesNotMatch(read.output, /\x1b/);
    assert.match(read.output, /^user@berth:~\$ seq 1 30;/);
    assert.equal(read.output.match(/^top - /gm)?.length, 1, read.output);
    await terminals.send(id, { input: 'echo $((6*8))x' });
    const next = await terminals.read(id, { until: '^48x', wait: 10 });
    assert.deepEqual([next.mode, next.output.includes('42x')], ['streaming', false]);
  });

  test('the default read after vim shows no redraws', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { terminals } = sandbox.host;
    const id = await shellIn(terminals, { cols: 40, rows: 8 });
    await terminals.send(id, { input: 'vim notes.txt' });
    await terminals.read(id, { until: 'notes\\.txt" \\[New\\]', wait: 10 });
    await terminals.send(id, { input: 'ihello', raw: true, keys: ['escape'] });
    await terminals.read(id, { until: '^hello', wait: 10 });
    await terminals.send(id, { input: ':wq' });
    const back = await terminals.read(id, { until: '\\$ \\s*$', wait: 10 });
    assert.equal(back.output.trimEnd(), `${prompt}vim notes.txt\n${prompt}`.trimEnd());
  });

  test('streaming reads of a long output lose and repeat nothing', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { terminals } = sandbox.host;
    const { sessionId } = await terminals.start({ command: 'stty -onlcr; seq 1 100000; sleep 0.2' });
    let text = '';
    for (let ended = false; !ended;) {
      const read = await terminals.read(sessionId, { mode: 'streaming', maxBytes: 30_011, wait: 5 });
      assert.equal(read.dropped, 0);
      text += read.output;
      ended = read.exited && !read.truncated;
    }
    assert.equal(text, Array.from({ length: 100_000 }, (_, index) => `${index + 1}\n`).join(''));
  });

  test('a flood that nobody reads is drained, answers ctrl-c, and counts what was lost', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { terminals } = sandbox.host;
    const id = await shellIn(terminals);
    const before = (await terminals.read(id)).totalBytesReceived;
    await terminals.send(id, { input: 'yes' });
    const received = async () => (await terminals.read(id, { mode: 'snapshot' })).totalBytesReceived;
    while ((await received()) < 3_000_000) await sleep(50);
    await terminals.send(id, { keys: ['ctrl-c'] });
    assert.equal((await terminals.read(id, { until: '\\$ $', wait: 10, mode: 'snapshot' })).matched, true);
    const read = await terminals.read(id, { maxBytes: 1024 });
    assert.equal(read.dropped, read.totalBytesReceived - before - 1_048_576);
    assert.match(read.output, /^(y?\r?\n)(y\r\n)+y?\r?$/);
  });

  test('a flood of random bytes breaks nothing', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { terminals } = sandbox.host;
    const { sessionId } = await terminals.start({
      command: 'stty -echo; head -c 3000000 /dev/urandom; printf "\\033c"; echo survived; sleep 100',
    });
    const read = await terminals.read(sessionId, { mode: 'snapshot', until: 'survived', wait: 20 });
    assert.deepEqual([read.matched, read.output], [true, 'survived']);
  });

  test('a terminal works beside a running command', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { terminals, shell } = sandbox.host;
    const running = shell.run('sleep 1; echo done');
    const id = await shellIn(terminals);
    await type(terminals, id, 'clear; echo beside', '^beside\n.*\\$ $');
    assert.match(await screen(terminals, id), /^beside\n/);
    assert.equal(Buffer.from((await running).stdout.head).toString(), 'done\n');
  });

  test('a new server sees the open vim as it was, and goes on typing', async () => {
    const store = notes();
    await using sandbox = await shellSandbox(runtime);
    await sandbox.host[Symbol.asyncDispose]();
    const first = await sandbox.connect({ store });
    const id = await shellIn(first.terminals, { cols: 50, rows: 10 });
    await first.terminals.send(id, { input: 'vim f.txt' });
    await first.terminals.read(id, { until: 'f\\.txt', wait: 10 });
    await first.terminals.send(id, { input: 'ione', raw: true });
    const before = await first.terminals.read(id, { mode: 'snapshot', until: '^one', wait: 10 });
    assert.equal(before.matched, true);
    await first[Symbol.asyncDispose]();
    const second = await sandbox.connect({ store });
    const seen = await second.terminals.read(id, { mode: 'snapshot', until: '^one', wait: 10 });
    assert.deepEqual(
      [seen.output, seen.cursor, seen.size, seen.alternateScreen],
      [before.output, before.cursor, { rows: 10, cols: 50 }, true],
    );
    await second.terminals.send(id, { input: ' two', raw: true, keys: ['escape'] });
    await second.terminals.send(id, { input: ':wq' });
    await second.terminals.read(id, { mode: 'snapshot', until: '\\$ $', wait: 10 });
    const file = await second.shell.run('cat f.txt');
    assert.equal(Buffer.from(file.stdout.head).toString(), 'one two\n');
    await second[Symbol.asyncDispose]();
  });

  test('ending a terminal ends all that runs in it', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { terminals, shell } = sandbox.host;
    const id = await shellIn(terminals);
    await terminals.send(id, { input: 'trap "" HUP; (trap "" HUP; sleep 300) & sleep 300' });
    await terminals.read(id, { wait: 1 });
    const info = await terminals.end(id);
    assert.equal(info.exited, true);
    assert.equal(Buffer.from((await shell.run('pgrep -c sleep')).stdout.head).toString(), '0\n');
    assert.deepEqual(await terminals.list(), []);
  });

  test('two viewers see the same, and closing one leaves the terminal as it is', async () => {
    await using sandbox = await shellSandbox(runtime);
    const { terminals } = sandbox.host;
    const id = await shellIn(terminals, { cols: 30, rows: 5 });
    const [stop, other] = [new AbortController(), new AbortController()];
    const readers = [await terminals.watch(id, stop.signal), await terminals.watch(id, other.signal)].map((watch) =>
      watch.output.getReader(),
    );
    const texts = ['', ''];
    const until = async (index: number, text: string) => {
      while (!texts[index]?.includes(text))
        texts[index] += Buffer.from((await readers[index]?.read())?.value ?? []).toString();
    };
    await terminals.send(id, { input: 'echo $((6*7))x' });
    await Promise.all([until(0, '42x'), until(1, '42x')]);
    stop.abort();
    await terminals.send(id, { input: 'echo $((6*8))x' });
    await until(1, '48x');
    assert.equal((await terminals.list())[0]?.watchers, 1);
    other.abort();
  });
});
