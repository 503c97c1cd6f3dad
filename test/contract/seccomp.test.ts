import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Container, Runtime } from '../../src/sandbox/ports/runtime.ts';
import { newInstance, specOf, sweep, testRuntime } from '../support/docker-runtime.ts';
import { run } from '../support/run.ts';

const profile = readFileSync(new URL('../../config/seccomp.json', import.meta.url), 'utf8');

/** Makes one system call, by number, and prints its errno's name or `ok`. */
const caller = `
import ctypes, errno, sys
libc = ctypes.CDLL(None, use_errno=True)
number, *arguments = (ctypes.c_long(int(word, 0)) for word in sys.argv[1:])
result = libc.syscall(number, *arguments)
print('ok' if result != -1 else errno.errorcode[ctypes.get_errno()])
`;

/** Numbers on x86-64 and arm64, and arguments that the kernel would otherwise take from anybody where it can. */
const refused: Record<string, readonly [x64: number, arm64: number, ...args: number[]]> = {
  acct: [163, 89],
  add_key: [248, 217],
  bpf: [321, 280],
  'clone with a user namespace': [56, 220, 0x10000000 | 17],
  fanotify_init: [300, 262, 0x200],
  finit_module: [313, 273],
  fsopen: [430, 430],
  init_module: [175, 105],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  io_uring_setup: [425, 425],
  kcmp: [312, 272, 1, 1],
  kexec_load: [246, 104],
  keyctl: [250, 219, 0, -3],
  mbind: [237, 235],
  mount: [165, 40],
  mount_setattr: [442, 442],
  move_mount: [429, 429],
  name_to_handle_at: [303, 264],
  open_by_handle_at: [304, 265],
  open_tree: [428, 428],
  perf_event_open: [298, 241],
  'personality PER_LINUX32': [135, 92, 8],
  'personality READ_IMPLIES_EXEC': [135, 92, 0x400000],
  pidfd_getfd: [438, 438, 0, 0],
  pivot_root: [155, 41],
  quotactl: [179, 60],
  reboot: [169, 142],
  request_key: [249, 218],
  setns: [308, 268, 0],
  syslog: [103, 116, 10],
  umount2: [166, 39],
  'unshare of a user namespace': [272, 97, 0x10000000],
  userfaultfd: [323, 282, 1],
};

/** Family, type, protocol. */
const sockets: Record<string, readonly [number, number, number, 'EPERM' | 'ok']> = {
  unix: [1, 1, 0, 'ok'],
  'TCP over IPv4': [2, 1, 6, 'ok'],
  'UDP over IPv6, non-blocking': [10, 2 | 0o4000 | 0o2000000, 17, 'ok'],
  'routing netlink': [16, 3, 0, 'ok'],
  'generic netlink': [16, 3, 16, 'EPERM'],
  'netfilter netlink': [16, 3, 12, 'EPERM'],
  raw: [2, 3, 1, 'EPERM'],
  SCTP: [2, 1, 132, 'EPERM'],
  MPTCP: [2, 1, 262, 'EPERM'],
  packet: [17, 3, 768, 'EPERM'],
  key: [15, 3, 2, 'EPERM'],
  RDS: [21, 5, 0, 'EPERM'],
  CAN: [29, 3, 1, 'EPERM'],
  TIPC: [30, 1, 0, 'EPERM'],
  Bluetooth: [31, 3, 0, 'EPERM'],
  ALG: [38, 5, 0, 'EPERM'],
  vsock: [40, 1, 0, 'EPERM'],
  SMC: [43, 1, 0, 'EPERM'],
  XDP: [44, 3, 0, 'EPERM'],
};

describe('the seccomp profile', { timeout: 120_000 }, () => {
  const instance = newInstance();
  const runtime: Runtime = testRuntime({ instance });
  let box: Container;
  const arm = process.arch === 'arm64';
  const call = async (...numbers: number[]) => {
    const { stdout, stderr } = await run(box, ['python3', '-c', caller, ...numbers.map(String)]);
    return (stdout || stderr).trim();
  };
  const works = (what: string, script: string, expected: string) =>
    void test(what, async () => {
      const ran = await run(box, ['bash', '-c', `cd "$(mktemp -d)" && ${script}`]);
      assert.deepEqual(ran, { stdout: expected, stderr: '', code: 0 });
    });

  before(async () => {
    const node = { source: dirname(process.execPath), target: '/opt/node', readOnly: true };
    const limits = { ...specOf('').limits, memory: 512 * 1024 ** 2 };
    box = await runtime.open(specOf(`berth-${instance}-box`, { seccomp: profile, mounts: [node], limits }));
  });
  after(async () => {
    await runtime[Symbol.asyncDispose]();
    await sweep(instance);
  });

  for (const [name, [x64, arm64, ...args]] of Object.entries(refused))
    test(`refuses ${name}`, async () => assert.equal(await call(arm ? arm64 : x64, ...args), 'EPERM'));

  for (const [name, [family, type, protocol, expected]] of Object.entries(sockets))
    test(`${expected === 'ok' ? 'allows' : 'refuses'} a socket: ${name}`, async () =>
      assert.equal(await call(arm ? 198 : 41, family, type, protocol), expected));

  test('a family whose upper bits are set is refused, though the kernel cuts them off', async () =>
    assert.equal(await call(arm ? 198 : 41, 2 ** 32 + 1, 1, 0), 'EPERM'));

  test('says of clone3 that there is none', async () => assert.equal(await call(435, 0, 0), 'ENOSYS'));

  test('allows to switch address randomisation off', async () =>
    assert.equal(await call(arm ? 92 : 135, 0x40000), 'ok'));

  test('kills a 32-bit system call, where a socket would pass by the filter', { skip: arm }, async () => {
    const code = `
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write(bytes.fromhex('b814000000cd80c3'))
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())`;
    assert.equal((await run(box, ['python3', '-c', code])).code, 159);
  });

  works('bash runs pipes, jobs and substitutions', 'echo $(seq 3 | tac) <(true) | cut -c-5; sleep 0 & wait', '3 2 1\n');
  works(
    'python runs threads, processes, sockets and event loops',
    `python3 - <<'END'
import asyncio, multiprocessing, os, socket, subprocess, tempfile, threading
threading.Thread(target=print, args=('thread',)).start()
with multiprocessing.Pool(2) as pool: print(pool.map(abs, [-1, -2]))
print(subprocess.run(['echo', 'child'], capture_output=True).stdout)
async def main():
    server = await asyncio.start_server(lambda r, w: w.close(), '127.0.0.1', 0)
    reader, _ = await asyncio.open_connection(*server.sockets[0].getsockname())
    print(await reader.read())
asyncio.run(main())
print([name for _, name in socket.if_nameindex()])
END`,
    "thread\n[1, 2]\nb'child\\n'\nb''\n['lo']\n",
  );
  works(
    'a virtual environment has its pip',
    "python3 -m venv v && . v/bin/activate && pip --version | cut -d' ' -f1 && python -c 'import sys; print(sys.prefix != sys.base_prefix)'",
    'pip\nTrue\n',
  );
  works(
    'git commits and clones',
    'git init -q a && cd a && echo x > f && git add f && git -c user.name=n -c user.email=e commit -qm m && git clone -q . ../b && cat ../b/f && git -C ../b log --format=%s',
    'x\nm\n',
  );
  works(
    'curl fetches from a local server',
    'echo page > f; python3 -m http.server -b 127.0.0.1 8123 >/dev/null 2>&1 & p=$!; curl -s --retry 50 --retry-delay 0 --retry-connrefused http://127.0.0.1:8123/f; kill $p',
    'page\n',
  );
  works('vim edits', "printf 'a\\n' > f; vi -es -u NONE -c 's/a/b/' -c wq f; cat f", 'b\n');
  works(
    'node runs workers, processes and sockets',
    `/opt/node/node -e '
const { Worker } = require("worker_threads");
new Worker("require(\\"worker_threads\\").parentPort.postMessage(1)", { eval: true }).on("message", (got) => {
  console.log("worker", got, require("child_process").execSync("echo child").toString().trim());
  const server = require("net").createServer((s) => s.end("net")).listen(0, "127.0.0.1", () =>
    require("net").connect(server.address().port).on("data", (d) => (console.log(String(d)), server.close())));
});'`,
    'worker 1 child\nnet\n',
  );
  works('FIFOs can be made', 'mkfifo p; echo through > p & cat p', 'through\n');
});

test('the profile names each call once, except for rules by argument', () => {
  const { syscalls } = JSON.parse(profile) as { syscalls: { names: string[]; args?: unknown[] }[] };
  const plain = syscalls.filter(({ args }) => !args).flatMap(({ names }) => names);
  assert.equal(new Set(plain).size, plain.length);
  for (const { names, args } of syscalls) if (args) for (const name of names) assert.ok(!plain.includes(name), name);
});
