import { execFileSync } from 'node:child_process';
import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const packages = [
  'ca-certificates,curl,git,iproute2,iptables,procps,xfsprogs,e2fsprogs,uidmap,slirp4netns,fuse-overlayfs,jq,kmod',
  'python3,docker.io,docker-cli',
].join(',');

/** The disks that engines are tried on, by the release their packages come from. Made once, kept in `directory`. */
export class Disks {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Debian 13 as it is: Docker 26.1.5. */
  stable(): string {
    return this.#make('stable', (disk) => {
      run('mmdebstrap', ['--mode=root', '--variant=important', `--include=${packages}`, 'trixie', disk]);
    });
  }

  /** Debian 13 with the next release's engines: Docker 28 or newer, containerd 2, Podman 5. */
  next(): string {
    const stable = this.stable();
    return this.#make('next', (disk) => {
      run('cp', ['--archive', '--reflink=auto', stable, disk]);
      const sources = join(disk, 'etc/apt/sources.list.d/next.list');
      writeFileSync(
        join(disk, 'etc/apt/preferences.d/next'),
        'Package: *\nPin: release a=unstable\nPin-Priority: 90\n',
      );
      writeFileSync(join(disk, 'usr/sbin/policy-rc.d'), '#!/bin/sh\nexit 101\n', { mode: 0o755 });
      run('sh', ['-c', 'sed -n "s/ trixie / sid /p" "$1/etc/apt/sources.list" > "$2"', 'sh', disk, sources]);
      inChroot(
        disk,
        'apt-get -q -o Acquire::Check-Valid-Until=false update && ' +
          'apt-get -q -y -t unstable install docker.io docker-cli containerd runc docker-compose rootlesskit podman crun',
      );
      // What is built on it is Debian 13, as on the other.
      rmSync(sources);
    });
  }

  #make(name: string, make: (disk: string) => void): string {
    const disk = join(this.#directory, name);
    if (existsSync(disk)) return disk;
    rmSync(`${disk}.new`, { recursive: true, force: true });
    make(`${disk}.new`);
    renameSync(`${disk}.new`, disk);
    return disk;
  }
}

/** Some packages are not configured without `/proc`. */
function inChroot(disk: string, script: string): void {
  const mounted = 'mount --make-rprivate /; mount -t proc proc "$1/proc"; exec chroot "$1" sh -c "$2"';
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  run('unshare', ['--mount', '--pid', '--fork', 'sh', '-c', mounted, 'sh', disk, script], env);
}

function run(file: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): void {
  execFileSync(file, args, { stdio: ['ignore', 'ignore', 'inherit'], env });
}
