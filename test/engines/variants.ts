/** One engine, as an operator sets it up. */
export interface Variant {
  readonly name: string;
  readonly disk: 'stable' | 'next';
  /** Puts the engine's settings in place; absent: as the package has them. */
  readonly prepare?: string;
  /** Value for `workspace.quota`. */
  readonly quota?: string;
  /** The first sentence of a refusal, where this engine is refused. */
  readonly refused?: string;
  /** The engine is started by this instead of by `berth up`. */
  readonly start?: string;
}

const settings = (json: string): string => `mkdir -p /etc/docker && echo '${json}' > /etc/docker/daemon.json`;
const remapped = `echo dockremap:231072:65536 | tee -a /etc/subuid >> /etc/subgid
  getent passwd dockremap > /dev/null || useradd --system dockremap
  ${settings('{"userns-remap": "default"}')}`;

export const variants: readonly Variant[] = [
  { name: 'Docker of Debian 13', disk: 'stable' },
  { name: 'Docker of the next Debian', disk: 'next' },
  {
    name: 'containerd image store',
    disk: 'next',
    prepare: settings('{"features": {"containerd-snapshotter": true}}'),
  },
  { name: 'live-restore', disk: 'next', prepare: settings('{"live-restore": true}') },
  { name: 'userns-remap, loop', disk: 'next', prepare: remapped, quota: 'loop' },
  { name: 'userns-remap, tmpfs', disk: 'next', prepare: remapped, quota: 'tmpfs' },
  { name: 'userns-remap, watch', disk: 'next', prepare: remapped, quota: 'watch' },
  {
    name: 'project quota on xfs',
    disk: 'next',
    prepare: `truncate -s 12G /tmp/xfs && mkfs.xfs -q /tmp/xfs && mkdir -p /srv/docker &&
      mount -o loop,pquota /tmp/xfs /srv/docker && ${settings('{"data-root": "/srv/docker"}')}`,
    quota: 'project',
  },
  {
    name: 'Podman 5, rootful',
    disk: 'next',
    start: 'mkdir -p /run/podman; podman system service --time=0 unix:///var/run/docker.sock > /tmp/podman.log 2>&1 &',
    refused: 'is Podman',
  },
];
