#!/bin/bash
# Becomes PID 1 of a machine of namespaces: the kernel is the host's, all else is the disk's.
# Usage: machine.sh LOWER HOME NAME REPOSITORY NODE
# LOWER is the disk, which stays as it is; HOME, on ext4, takes what the machine writes; NODE is a Node installation.
set -eu
export lower=$1 home=$2 name=$3 repository=$4 node=$5

for group in /sys/fs/cgroup/*/cgroup.procs; do
  place=${group%/*}
  mkdir -p "$place/$name"
  for file in cpuset.cpus cpuset.mems; do [ ! -e "$place/$file" ] || cat "$place/$file" > "$place/$name/$file"; done
  echo $$ > "$place/$name/cgroup.procs"
done
if [ -e /sys/fs/cgroup/cgroup.procs ]; then
  mkdir -p "/sys/fs/cgroup/$name"
  echo $$ > "/sys/fs/cgroup/$name/cgroup.procs"
fi
mkdir -p "$home"/{upper,work,root,docker,containerd,tmp,vartmp}

inside() {
  exec 2>&3
  mount --make-rprivate /
  root=$home/root
  mount -t overlay overlay -o "lowerdir=$lower,upperdir=$home/upper,workdir=$home/work" "$root"
  groups=$(for place in /sys/fs/cgroup/*/; do [ ! -e "$place/cgroup.procs" ] || basename "$place"; done)
  unified=$([ -e /sys/fs/cgroup/cgroup.procs ] && echo yes || true)
  mount -t proc proc "$root/proc"
  mount -t sysfs sysfs "$root/sys"
  if [ -n "$unified" ]; then
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  else
    mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
    for group in $groups; do
      mkdir "$root/sys/fs/cgroup/$group"
      case $group in
        systemd) mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/$group" ;;
        unified) rmdir "$root/sys/fs/cgroup/$group" ;;
        *) mount -t cgroup -o "$group" cgroup "$root/sys/fs/cgroup/$group" ;;
      esac
    done
  fi
  mount -t tmpfs -o mode=755 tmpfs "$root/dev"
  mkdir "$root"/dev/{pts,shm,net,mqueue}
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
  mount -t tmpfs tmpfs "$root/dev/shm"
  mount -t mqueue mqueue "$root/dev/mqueue"
  mknod -m 666 "$root/dev/null" c 1 3; mknod -m 666 "$root/dev/zero" c 1 5; mknod -m 666 "$root/dev/full" c 1 7
  mknod -m 666 "$root/dev/random" c 1 8; mknod -m 666 "$root/dev/urandom" c 1 9; mknod -m 666 "$root/dev/tty" c 5 0
  mknod -m 666 "$root/dev/fuse" c 10 229; mknod -m 666 "$root/dev/net/tun" c 10 200
  mknod -m 660 "$root/dev/loop-control" c 10 237
  for i in $(seq 0 127); do mknod -m 660 "$root/dev/loop$i" b 7 "$i"; done
  ln -s pts/ptmx "$root/dev/ptmx"; ln -s /proc/self/fd "$root/dev/fd"
  ln -s fd/0 "$root/dev/stdin"; ln -s fd/1 "$root/dev/stdout"; ln -s fd/2 "$root/dev/stderr"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  mkdir -p "$root"/{var/lib/docker,var/lib/containerd,root/berth,opt/node}
  chmod 1777 "$home/tmp" "$home/vartmp"
  mount --bind "$home/docker" "$root/var/lib/docker"
  mount --bind "$home/containerd" "$root/var/lib/containerd"
  mount --bind "$home/tmp" "$root/tmp"
  mount --bind "$home/vartmp" "$root/var/tmp"
  mount --bind "$repository" "$root/root/berth"
  mount --bind "$node" "$root/opt/node"
  cat /etc/resolv.conf > "$root/etc/resolv.conf"
  hostname "$name"
  ip link set lo up
  mkdir -p "$root/.before"
  cd "$root"
  pivot_root . .before
  cd /
  umount -l /.before
  echo up
  # Reaps what is left to it until it is killed.
  while :; do sleep 1000 & wait || true; done
}
export -f inside
# unshare complains when its child is killed, which is how a machine ends.
exec unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child bash -euc inside 3>&2 2> /dev/null
