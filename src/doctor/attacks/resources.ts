import { type Attack, broken, held, type Outcome, type Target, untried, weak } from '../attack.ts';
import type { Container } from '../../sandbox/ports/runtime.ts';
import { begin, script } from '../exec.ts';

const MiB = 1024 ** 2;
const size = (bytes: number): string => `${Math.round(bytes / MiB)} MiB`;

const killAll: Attack = {
  name: 'kill -9 -1',
  meaning: 'One command of a model ends its sandbox, and everything that ran in it.',
  advice: '"berth up" builds the session host anew.',
  async run({ container, workspace }, signal) {
    const shell = async () => {
      const { stdout } = await workspace.shell.run('echo "pid $$"', { timeout: 8, signal });
      return /^pid \d+\n$/.exec(Buffer.from(stdout.head).toString())?.[0];
    };
    const before = await shell();
    if (before === undefined) return untried('there is no shell to kill');
    await script(container, 'kill -9 -1', { signal });
    if (!(await container.state(signal)).running) return broken('the sandbox ended');
    const after = await shell();
    if (after === undefined) return broken('no shell afterwards');
    return after === before ? untried('it kills nothing here') : held('the shell is back');
  },
};

const memory: Attack = {
  name: 'memory hog',
  meaning: "One sandbox can take the host's memory, and with it every other sandbox.",
  advice: 'Enable the memory cgroup controller of the host, and swap accounting where cgroups are v1.',
  seconds: 15,
  async run({ container, template }, signal) {
    const { memoryLimit } = await container.usage(signal);
    if (memoryLimit !== template.memory) return broken(`the limit in force is ${size(memoryLimit)}`);
    const text = `x=xxxxxxxx; while ((\${#x} < ${4 * template.memory})); do x=$x$x; done`;
    const { code, output } = await script(container, text, { signal });
    if (code === 0) return broken(`${size(2 * template.memory)} and more were had`);
    if (!(await container.state(signal)).running) return broken('the sandbox ended with the hog');
    if (code !== 137 && !output.includes('cannot allocate'))
      return untried(`the hog ended with ${code}, of something else`);
    return held(`killed at ${size(memoryLimit)}`);
  },
};

/** Writes until it is refused, at most so many MiB; prints how many were written. */
const fill = `
  printf -v block '%1048576s' ''
  for ((i = 0; i < $2; i++)); do { printf %s "$block" >> "$1"; } 2> /dev/null || break; done
  echo "$i"; rm -f "$1" 2> /dev/null || : > "$1"`;

/** What is wrong with a bound. One that lets nearly nothing through was not reached, but something else was. */
async function filled(
  { container }: Target,
  file: string,
  bytes: number,
  signal: AbortSignal,
): Promise<Outcome | undefined> {
  const most = Math.ceil(bytes / MiB);
  const { output } = await script(container, fill, { args: [file, String(2 * most)], signal });
  const written = Number(/^\d+/m.exec(output)?.[0] ?? 0);
  if (written > most) return broken(`${file} took ${written} MiB of ${most}`);
  return written < most / 2 ? untried(`${file} took no more than ${written} MiB of ${most}`) : undefined;
}

const quotas =
  'Give the engine a file system with project quotas, or run as root on the engine’s host for `workspace.quota: loop`.';

const disk: Attack = {
  name: 'disk fill',
  meaning: "One sandbox can fill the host's disk.",
  advice: quotas,
  seconds: 20,
  async run(target, signal) {
    const { quota, template } = target;
    const places: [string, number][] = [
      ['/tmp/doctor', template.tmp],
      ['/dev/shm/doctor', template.shm],
    ];
    if (quota.kind !== 'watch') places.push(['/workspace/doctor', template.disk]);
    for (const [file, bytes] of places) {
      const wrong = await filled(target, file, bytes, signal);
      if (wrong) return wrong;
    }
    if (quota.kind === 'watch') return weak('/tmp is capped; a workspace that grows too big is stopped later', quotas);
    return held(`capped at ${size(template.disk)} by ${quota.detail}`);
  },
};

const log: Attack = {
  name: 'log flood',
  meaning: "What PID 1 writes lands in a log on the host's disk, past every quota.",
  advice: 'Berth asks for the log driver none; look at what stands between it and the engine.',
  async run(target, signal) {
    const text = `
      printf -v block '%1048576s' ''
      for f in /proc/1/fd/1 /proc/1/fd/2 /dev/console; do
        for i in 1 2 3 4; do { printf %s "$block" > "$f"; } 2> /dev/null || break; done
      done`;
    await script(target.container, text, { signal });
    const { driver, bytes } = await target.logged();
    if (driver === 'none' && bytes === 0) return held('0 bytes on the host');
    return broken(`${bytes} bytes in the log driver ${driver}`);
  },
};

const forks: Attack = {
  name: 'fork bomb',
  meaning: "One sandbox can take the host's processes, and nothing can be started or ended any more.",
  advice: 'Enable the pids cgroup controller of the host.',
  seconds: 25,
  async run({ container, template, peer }, signal) {
    const { pidsLimit } = await container.usage(signal);
    if (pidsLimit !== template.pids)
      return broken(`the limit in force is ${pidsLimit || 'none'}, not ${template.pids}`);
    const calm = await duration(script(peer.container, 'echo alive', { signal }));
    await using _bomb = await begin(container, 'bomb() { bomb | bomb & }; bomb; read -r', signal);
    const pids = await fullOf(container, template.pids, signal);
    if (pids > template.pids) return broken(`${pids} processes, ${template.pids} allowed`);
    if (pids < template.pids / 2) return untried(`the bomb got no further than ${pids} processes`);
    const answered = await duration(script(peer.container, 'echo alive', { signal }));
    const removed = await duration(container.remove());
    const times = `at ${pids} processes a neighbour answered in ${seconds(answered)} (before: ${seconds(calm)}), the sandbox was gone in ${seconds(removed)}`;
    if (answered < 5000 && removed < 10_000) return held(times);
    return calm < 1000 ? broken(times) : untried(`${times}: this machine is slow without a bomb, too`);
  },
};

async function duration(work: Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work;
  return performance.now() - began;
}

const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(1)} s`;

/** The most processes seen within two seconds. */
async function fullOf(container: Container, limit: number, signal: AbortSignal): Promise<number> {
  let most = 0;
  for (const end = performance.now() + 2000; performance.now() < end && most <= limit;)
    most = Math.max(most, (await container.usage(signal)).pids);
  return most;
}

/** One after another: each would spoil the next one's measures. The last one leaves no sandbox. */
export const resourceAttacks = [killAll, memory, disk, log, forks] as const;
