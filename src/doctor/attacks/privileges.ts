import { type Attack, broken, otherImage, type Outcome, type Target, unless, untried } from '../attack.ts';
import { script, trial } from '../exec.ts';
import { makeCalls, type SystemCall } from '../system-calls.ts';
import type { Container } from '../../sandbox/ports/runtime.ts';

const profile =
  'Take the line `seccomp: engine` out of the template, or add the denials of config/seccomp.json to the profile it names.';

/** Errors by which a call is refused, not merely found faulty. */
const refusals: ReadonlySet<string> = new Set(['EPERM', 'EACCES', 'ENOSYS', 'EAFNOSUPPORT', 'killed']);

/** Unless one of the calls is open. Rejects where `control`, a call like them that nothing forbids, is refused as well. */
async function refused(
  { container }: Target,
  calls: readonly SystemCall[],
  signal: AbortSignal,
  control?: SystemCall,
): Promise<Outcome> {
  if (control) await expectOpen(container, control, signal);
  const found = await makeCalls(container, calls, signal);
  if (!found) return untried('the image has neither python3 nor perl to make system calls with', otherImage);
  const open = calls.flatMap(({ name }) => {
    const answer = found.get(name)!;
    return refusals.has(answer) ? [] : [`${name} is open (${answer})`];
  });
  return unless(open, calls.length === 1 ? `refused (${found.get(calls[0]!.name)})` : 'refused');
}

async function expectOpen(container: Container, control: SystemCall, signal: AbortSignal): Promise<void> {
  const answer = (await makeCalls(container, [control], signal))?.get(control.name) ?? 'done';
  if (answer !== 'done') throw new Error(`${control.name} is refused where it is harmless, too (${answer})`);
}

const call = (name: string, x64: number, arm64: number, ...args: (number | string)[]): SystemCall => ({
  name,
  x64,
  arm64,
  args,
});
const socket = (name: string, family: number, type: number): SystemCall => call(name, 41, 198, family, type, 0);

/** One way into the kernel that the seccomp profile is to shut. */
function door(name: string, meaning: string, ...calls: readonly SystemCall[]): Attack {
  return { name, meaning, advice: profile, run: (target, signal) => refused(target, calls, signal) };
}

const doors = [
  door(
    'io_uring',
    'A part of the kernel with a long list of ways to become root is open to sandboxes.',
    call('io_uring_setup', 425, 425, 8),
  ),
  door('AF_VSOCK', 'A sandbox can talk to the hypervisor below this host.', socket('AF_VSOCK', 40, 1)),
  door(
    'AF_ALG',
    'Kernel crypto that nobody needs, with a history of holes, is open to sandboxes.',
    socket('AF_ALG', 38, 5),
  ),
  door(
    'kernel calls',
    'Parts of the kernel that are no business of a sandbox are open to it.',
    call('bpf', 321, 280, 0),
    call('perf_event_open', 298, 241),
    call('userfaultfd', 323, 282, 1),
    call('keyctl', 250, 219, 0, -3),
    call('init_module', 175, 105),
    call('open_by_handle_at', 304, 265),
    call('fsopen', 430, 430),
  ),
];

const user: Attack = {
  name: 'user and capabilities',
  meaning: 'Code in a sandbox has powers over the host that it could use to leave.',
  advice: "Berth asks for user 1000 without capabilities; look at what the template's runtime makes of it.",
  async run({ container }, signal) {
    const { output } = await script(container, 'echo "$(< /proc/self/status)"', { signal });
    if (!/^Uid:.*\n(.*\n)*CapEff:/m.test(output))
      return untried('the sandbox’s kernel does not tell of a process’s rights');
    const field = (name: string) => new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(output)?.[1];
    const caps = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].filter((name) => !/^0+$/.test(field(name) ?? ''));
    const found = caps.map((name) => `${name} is ${field(name)}`);
    if (field('Uid') !== '1000') found.push(`the user is ${field('Uid')}`);
    return unless(found, 'user 1000, no capability');
  },
};

const setuid: Attack = {
  name: 'setuid',
  meaning: 'A setuid program in the image or the workspace makes its caller root in the sandbox.',
  advice: "Berth asks for no-new-privileges; look at what the template's runtime makes of it.",
  async run(target, signal) {
    const { output } = await script(target.container, 'echo "$(< /proc/self/status)"', { signal });
    const barred = /^NoNewPrivs:\s+(\d)$/m.exec(output)?.[1];
    if (barred === undefined) return untried('the sandbox’s kernel does not tell whether new privileges can be had');
    if (barred !== '1') return broken('new privileges can be had');
    return await refused(target, [call('setuid', 105, 146, 0), call('setgid', 106, 144, 0)], signal);
  },
};

const devices: Attack = {
  name: 'device nodes',
  meaning: "A sandbox can read the host's disks or memory.",
  advice: 'Take devices out of the runtime’s settings; Berth gives none.',
  async run(target, signal) {
    const text = `
      [[ -c /dev/null ]] && echo able
      for f in /dev/* /dev/*/*; do [[ -b $f ]] && echo "$f"; done
      for f in /dev/mem /dev/kmsg /dev/kvm /dev/fuse /dev/net/tun /dev/port; do [[ -e $f ]] && echo "$f"; done`;
    const [able, ...found] = await trial(target.container, text, signal);
    if (able !== 'able') return untried('the sandbox has no /dev to look in');
    if (found.length > 0) return broken(`${found.join(', ')} is there`);
    const [plain, block] = [0o100_000 | 0o600, 0o60_000 | 0o600];
    const control = call('mknod', 259, 33, -100, '@/workspace/doctor-plain', plain);
    const disk = call('mknod', 259, 33, -100, '@/workspace/doctor-disk', block, 8 << 8);
    return await refused(target, [disk], signal, control);
  },
};

const root: Attack = {
  name: 'read-only root',
  meaning: "A sandbox can change its image's files, and fill the host's disk through them.",
  advice: "Berth asks for a read-only root; look at what the template's runtime makes of it, and at its mounts.",
  async run({ container, template }, signal) {
    const text = `
      for d in /tmp / /etc /usr/bin /var/tmp /opt/berth /home /root /run /srv /dev; do
        { : > "$d/doctor"; } 2> /dev/null && echo "$d can be written"
      done
      while read -r _ _ _ _ point options _; do
        [[ ,$options, == *,rw,* && -d $point && -w $point ]] && echo "$point is a writable mount"
      done < /proc/self/mountinfo`;
    const lines = await trial(container, text, signal);
    if (!lines.includes('/tmp can be written') || !lines.includes('/tmp is a writable mount'))
      return untried('not even /tmp, which is the sandbox’s own, can be written');
    const own = [
      '/workspace',
      '/tmp',
      '/dev/shm',
      '/dev/mqueue',
      '/proc',
      ...template.mounts.map(({ target }) => target),
    ];
    const found = lines.filter((line) => !own.includes(line.replace(/ (is|can) .*/, '')));
    return unless(found, 'nothing but the workspace, /tmp and /dev/shm can be written');
  },
};

const cgroup: Attack = {
  name: 'namespaces and cgroups',
  meaning: 'A sandbox can mount, or write where the kernel starts programs as root of the host.',
  advice: profile,
  async run(target, signal) {
    const text = `
      : > /tmp/doctor-control
      for f in /tmp/doctor-control /sys/fs/cgroup /sys/fs/cgroup/* /sys/fs/cgroup/*/{release_agent,notify_on_release,cgroup.procs} \\
        /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sysrq-trigger /sys/kernel/uevent_helper; do
        [[ -w $f ]] && { : >> "$f"; } 2> /dev/null && echo "$f can be written"
      done`;
    const [control, ...found] = await trial(target.container, text, signal);
    if (control !== '/tmp/doctor-control can be written') return untried('not even a file of its own can be written');
    if (found.length > 0) return broken(found.join('; '));
    const newUser = 0x1000_0000;
    const calls = [
      call('unshare', 272, 97, newUser | 0x20000),
      call('mount', 165, 40, '@cgroup', '@/tmp', '@cgroup'),
      call('setns', 308, 268),
      call('pivot_root', 155, 41, '@/', '@/'),
      call('chroot', 161, 51, '@/tmp'),
    ];
    return await refused(target, calls, signal);
  },
};

const hostProcess: Attack = {
  name: 'PID 1',
  meaning: 'A sandbox can take over the process that the server talks to, and lie to it.',
  advice: '"berth up" builds the session host anew; a runtime that lets processes trace one another must not be used.',
  async run(target, signal) {
    if ((await target.workspace.status()).degraded.length > 0)
      return untried("without a session host it is the sandbox's own", 'Use images in which the session host runs.');
    const text = `
      { read -r -n 1 _ < /proc/self/environ; } 2> /dev/null && [[ -d /proc/1 ]] && echo able
      for f in environ mem maps auxv stack fd/0 fd/1; do
        { read -r -n 1 -t 0.2 _ || (($? > 128)); } 2> /dev/null < "/proc/1/$f" && echo "/proc/1/$f can be read"
      done
      [[ -e /proc/1/root/etc ]] && echo "/proc/1/root can be entered"
      for s in TERM INT HUP KILL STOP; do kill -$s 1; done`;
    const lines = await trial(target.container, text, signal);
    const found = lines.filter((line) => / can be /.test(line));
    if (!(await target.container.state(signal)).running) return broken('a signal from inside ended it');
    if (found.length > 0) return broken(found.join('; '));
    if (!lines.includes('able')) return untried('a process cannot even look at itself');
    return await refused(target, [call('ptrace', 101, 117, 0x4206, 1), call('pidfd_getfd', 438, 438)], signal);
  },
};

export const privilegeAttacks = [user, setuid, devices, root, cgroup, hostProcess, ...doors] as const;
