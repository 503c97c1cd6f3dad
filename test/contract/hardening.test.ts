import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Container, ExecOptions, Runtime } from '../../src/sandbox/ports/runtime.ts';
import { engine, MiB, newInstance, specOf, sweep, testRuntime } from '../support/docker-runtime.ts';
import { eventually, run, sh } from '../support/run.ts';

/** What a hostile process in a sandbox finds, with nothing but the template's defaults around it. */
describe('inside a sandbox', { timeout: 240_000 }, () => {
  const instance = newInstance();
  let runtime: Runtime;
  let box: Container;
  let last = 0;
  const open = () => runtime.open(specOf(`berth-${instance}-h${++last}`));
  /** What a shell script prints on both streams, and its exit code. */
  const tell = async (script: string, where = box) => {
    const { stdout, code } = await run(where, ['bash', '-c', `exec 2>&1; ${script}`]);
    return `${stdout}${code}`;
  };
  /** The options of a mount, from the kernel's own table. */
  const mount = async (point: string) => {
    const table = await sh(box, 'cat /proc/self/mountinfo');
    const line = table.split('\n').find((line) => line.split(' ')[4] === point);
    assert.ok(line, `nothing is mounted at ${point}`);
    const [, , , , , options, ...rest] = line.split(' ');
    return { options: options!.split(','), type: rest[rest.indexOf('-') + 1], super: rest.at(-1)!.split(',') };
  };

  before(async () => {
    runtime = testRuntime({ instance });
    box = await open();
  });
  after(async () => {
    await runtime[Symbol.asyncDispose]();
    await sweep(instance);
  });

  test('everybody is user 1000, and of no other group', async () => {
    assert.equal(await tell('id -u; id -g; id -G'), '1000\n1000\n1000\n0');
  });

  test('nobody has a capability or can get one', async () => {
    const status = await sh(box, 'cat /proc/self/status');
    const fields = Object.fromEntries(status.split('\n').map((line) => line.split(':\t') as [string, string]));
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.equal(fields[set], '0000000000000000');
    assert.equal(fields['NoNewPrivs'], '1');
    assert.equal(fields['Seccomp'], '2');
  });

  test('the root is read-only, the workspace and /tmp are not', async () => {
    assert.ok((await mount('/')).options.includes('ro'));
    for (const directory of ['/', '/etc', '/usr/bin', '/var/tmp', '/opt/berth', '/home', '/run'])
      assert.match(await tell(`touch ${directory}/x`), /(Read-only file system|Permission denied|No such file)\n1$/);
    assert.equal(await tell('touch /workspace/x /tmp/x && rm /workspace/x /tmp/x'), '0');
  });

  test("the session host's directory is mounted read-only and holds only it, its bash and the relay", async () => {
    assert.ok((await mount('/opt/berth')).options.includes('ro'));
    assert.equal(
      await tell('cd /opt/berth; find . ! -perm -o=w | sort'),
      '.\n./bash\n./egress-relay\n./session-host\n0',
    );
    assert.match(await tell('mount -o remount,rw /opt/berth'), /(permission denied|must be superuser)/i);
  });

  test('there is no network but the loopback, and nothing to reach', async () => {
    assert.equal(await tell('ls /sys/class/net'), 'lo\n0');
    for (const address of ['169.254.169.254/80', '172.17.0.1/22', '1.1.1.1/443'])
      assert.match(await tell(`echo > /dev/tcp/${address}`), /Network is unreachable\n.*1$/s);
    assert.match(await tell('exec 3<>/dev/udp/1.1.1.1/53; echo q >&3'), /Network is unreachable/);
  });

  test('limits are those of the template', async () => {
    assert.equal(await tell('ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc'), '1024\n1024\n0\n0\n0');
    assert.match(await tell('ulimit -n 4096'), /Operation not permitted\n1$/);
  });

  test('/tmp is of the size given, without setuid and devices, and runs programs', async () => {
    const { options, type, super: own } = await mount('/tmp');
    assert.equal(type, 'tmpfs');
    assert.ok(options.includes('nosuid') && options.includes('nodev') && !options.includes('noexec'));
    assert.ok(own.includes('size=65536k'), own.join());
    assert.equal(await tell('stat -c %a /tmp'), '1777\n0');
    assert.equal(await tell('printf "#!/bin/sh\\necho ran" > /tmp/s; chmod +x /tmp/s; /tmp/s; rm /tmp/s'), 'ran\n0');
    assert.match(await tell('head -c 70M /dev/zero > /tmp/f; c=$?; rm /tmp/f; exit $c'), /No space left on device\n1$/);
  });

  test('/dev/shm is 16 MiB, and /dev has no device of the host', async () => {
    const { options, super: own } = await mount('/dev/shm');
    assert.ok(own.includes('size=16384k'));
    assert.ok(['nosuid', 'nodev', 'noexec'].every((option) => options.includes(option)));
    assert.equal(await tell('find /dev -type b'), '0');
    assert.equal(
      await tell('cd /dev; ls -d [!c]* | xargs'),
      'fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero\n0',
    );
    assert.match(await tell('mknod /workspace/sda b 8 0'), /Operation not permitted\n1$/);
  });

  test('the kernel keeps its secrets', async () => {
    const masked = '/proc/kcore /proc/keys /proc/timer_list /proc/sched_debug';
    assert.match(await tell(`cat ${masked} 2>/dev/null | wc -c`), /^0\n/);
    assert.match(await tell('echo 1 > /proc/sys/kernel/core_pattern'), /(Read-only file system|Permission denied)\n1$/);
    assert.match(await tell('echo b > /proc/sysrq-trigger'), /(Read-only file system|Permission denied|No such file)/);
    assert.equal(await tell('ls -A /sys/firmware'), '0');
    assert.match(await tell('dmesg'), /Operation not permitted\n1$/);
    assert.equal(await tell('cut -d: -f3 /proc/self/cgroup | sort -u'), '/\n0');
  });

  test('no new mount, namespace, key or trace', async () => {
    assert.match(await tell('mount -t tmpfs x /workspace'), /(permission denied|must be superuser)/i);
    assert.match(await tell('unshare -Ur true'), /Operation not permitted\n1$/);
    assert.match(await tell('nsenter -t 1 -m true'), /(Operation not permitted|Permission denied)\n1$/);
    assert.match(await tell('chroot / true'), /Operation not permitted\n125$/);
  });

  test('the session host is out of reach: its files, memory and streams', async () => {
    assert.match(await tell('ls /proc/1/fd'), /Permission denied\n2$/);
    for (const file of ['environ', 'mem', 'fd/1', 'root', 'auxv', 'maps', 'stack'])
      assert.match(await tell(`head -c1 /proc/1/${file}`), /Permission denied\n1$/);
  });

  test("a flood into the session host's output puts no byte on the host's disk", async () => {
    assert.match(await tell('head -c 20M /dev/zero > /proc/1/fd/1'), /Permission denied\n1$/);
    assert.match(await tell('head -c 20M /dev/zero > /proc/1/fd/2'), /Permission denied\n1$/);
    const { LogPath, HostConfig } = await engine().getContainer(box.id).inspect();
    assert.equal(LogPath, '');
    assert.equal(HostConfig.LogConfig?.Type, 'none');
  });

  test('kill -9 -1 ends everything but the sandbox', async () => {
    const bystander = await box.exec(['bash', '-c', 'echo up; exec sleep 300']);
    await bystander.stdout.getReader().read();
    const code = bystander.wait();
    await run(box, ['bash', '-c', 'kill -9 -1']);
    assert.equal(await code, 137);
    assert.equal((await box.state()).running, true);
    assert.equal(await tell('for s in TERM INT HUP KILL STOP; do kill -$s 1; done; echo here'), 'here\n0');
    assert.equal((await box.state()).running, true);
  });

  test('a child beyond the memory limit dies with 137, and the sandbox goes on', async () => {
    const script = `python3 -c 'bytearray(400 * 1024 * 1024)'; echo $?`;
    assert.match(await tell(script), /137\n0$/);
    assert.match(await tell('head -c 400M /dev/zero | tail -c 400M | wc -c; echo ${PIPESTATUS[1]}'), /137\n0$/);
    assert.equal((await box.state()).running, true);
    assert.equal(await tell('echo on'), 'on\n0');
  });

  test('processes are bounded, and a fork bomb is cleared without harm to others', async () => {
    const [victim, neighbour] = [await open(), await open()];
    const bomb = await victim.exec(['bash', '-c', 'bomb() { bomb | bomb & }; bomb; sleep 300']);
    await eventually(async () => (await victim.usage()).pids >= 120);
    assert.ok((await victim.usage()).pids <= 128);
    const times: number[] = [];
    for (let i = 0; i < 10; i++) {
      const asked = performance.now();
      assert.equal(await tell('echo alive', neighbour), 'alive\n0');
      times.push(performance.now() - asked);
    }
    assert.ok(times.toSorted((a, b) => a - b)[8]! < 5000, `a neighbour's calls took ${times.map(Math.round)} ms`);
    const asked = performance.now();
    await victim.remove();
    assert.ok(performance.now() - asked < 10_000);
    await bomb[Symbol.asyncDispose]();
  });

  test('no option of the port makes a process privileged or another user', async () => {
    const forged = { User: 'root', Privileged: true, user: 'root', privileged: true } as ExecOptions;
    assert.equal((await run(box, ['id', '-u'], forged)).stdout, '1000\n');
  });

  test('a setuid file in the workspace lends nobody its owner', async () => {
    const filler = await engine().createContainer({
      Image: specOf('x').image,
      User: 'root',
      Entrypoint: ['sh', '-c', 'cp /usr/bin/id /w/id; chown root /w/id; chmod 4755 /w/id'],
      Labels: { 'berth.instance': instance },
      HostConfig: { NetworkMode: 'none', Mounts: [{ Type: 'volume', Source: box.name, Target: '/w' }] },
    });
    await filler.start();
    await filler.wait();
    assert.equal(await tell('stat -c %a:%u id; ./id -u'), '4755:0\n1000\n0');
  });

  test('the names of the host do not show', async () => {
    assert.equal(await tell('hostname; echo $HOME $LANG; pwd'), 'berth\n/workspace C.UTF-8\n/workspace\n0');
  });

  test('a body that asks for less is what the engine was given', async () => {
    const { HostConfig, Config } = await engine().getContainer(box.id).inspect();
    assert.equal(HostConfig.Privileged, false);
    assert.deepEqual(HostConfig.CapDrop, ['ALL']);
    assert.equal(HostConfig.CapAdd, null);
    assert.equal(HostConfig.Memory, 256 * MiB);
    assert.equal(HostConfig.MemorySwap, 256 * MiB);
    assert.equal(HostConfig.PidsLimit, 128);
    assert.equal(HostConfig.NanoCpus, 1e9);
    assert.equal(HostConfig.OomKillDisable, false);
    assert.equal(HostConfig.PidMode, '');
    assert.equal(HostConfig.IpcMode, 'private');
    assert.equal(HostConfig.UTSMode, '');
    assert.equal(HostConfig.RestartPolicy?.Name, 'no');
    assert.equal(HostConfig.AutoRemove, false);
    assert.equal(Config.User, '1000:1000');
  });
});
