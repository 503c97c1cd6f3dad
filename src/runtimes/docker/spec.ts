import type { ContainerSpec, Mount } from '../../sandbox/ports/runtime.ts';

/** Where things are in every sandbox. */
export const paths = {
  workspace: '/workspace',
  tools: '/opt/berth',
  host: '/opt/berth/session-host',
} as const;

/** Labels that this side of the port sets itself. */
export const labels = {
  instance: 'berth.instance',
  /** On a container: a digest of what was asked for, given with the spec. */
  spec: 'berth.spec',
  /** On a container that only fills a volume and is never started. */
  filler: 'berth.filler',
  /** On a workspace volume that the engine made by itself, for want of one, with a sandbox: nobody may write to it yet. */
  bare: 'berth.bare',
  /** On the volume that holds the session host; its value is the image id. */
  host: 'berth.session-host',
} as const;

/** The network of sandboxes with `network: 'open'`; `bridge` is its interface on the host. */
export const openNetwork = { name: 'berth-open', bridge: 'berth0' } as const;

export interface Placement {
  readonly instance: string;
  /** The volume with the session host in it. */
  readonly hostVolume: string;
  /** Seconds without a client after which the session host ends, and the container with it. */
  readonly orphanAfter: number;
  /** The image's own `VOLUME`s. */
  readonly imageVolumes?: readonly string[];
}

/** The body of `POST /containers/create` for a sandbox. */
export function createBody(spec: ContainerSpec, placement: Placement) {
  return {
    Image: spec.image,
    Labels: { ...spec.labels, [labels.instance]: placement.instance },
    Hostname: 'berth',
    User: '1000:1000',
    WorkingDir: paths.workspace,
    Env: environment(spec.env),
    Entrypoint: spec.sessionHost === false ? ['/bin/sh', '-c', waiting, 'berth'] : [paths.host],
    Cmd: ['serve', '--cwd', spec.cwd ?? paths.workspace, ...orphans(placement), '--', spec.shell],
    // An image's own health check would run a process in every sandbox for ever.
    Healthcheck: { Test: ['NONE'] },
    StopSignal: 'SIGTERM',
    // Docker waits this long at the host's shutdown; the workspace is on a volume, so there is nothing to wait for.
    StopTimeout: 2,
    HostConfig: { ...hardening, ...limits(spec), ...isolation(spec), Mounts: mounts(spec, placement) },
  };
}

const orphans = ({ orphanAfter }: Placement): string[] => ['--orphan-after', String(orphanAfter)];

/**
 * What the image's shell does in the session host's place, with its arguments: it waits, and reaps orphans as it does.
 * As PID 1 no signal from inside ends it; an init above it would leave it to a `kill -9 -1`. It ends by itself when
 * twice in a row it finds no process but its own, as a server always has one there.
 */
const waiting = `seconds=$5 alone=0
while :; do
  sleep "$seconds"; set -- /proc/[0-9]*
  if [ $# -gt 1 ]; then alone=0; else alone=$((alone + 1)); fi
  [ $alone -lt 2 ] || exit 0
done`;

/** What no template and no client can change. */
const hardening = {
  CapDrop: ['ALL'],
  Privileged: false,
  ReadonlyRootfs: true,
  IpcMode: 'private',
  CgroupnsMode: 'private',
  PublishAllPorts: false,
  // The session host is PID 1: it reaps, and no signal from inside can kill it. Below an init it would be an ordinary
  // process of user 1000, and a `kill -9 -1` in the shell would take it along.
  Init: false,
  OomKillDisable: false,
  // Where the whole machine runs out of memory, a sandbox goes before the engine and the server.
  OomScoreAdj: 500,
  // A process can write to PID 1's stdout; with any log driver that fills the host's disk past every quota.
  LogConfig: { Type: 'none', Config: {} },
  RestartPolicy: { Name: 'no' },
} as const;

function limits({ limits }: ContainerSpec) {
  return {
    Memory: limits.memory,
    MemorySwap: limits.memory,
    NanoCpus: Math.round(limits.cpus * 1e9),
    // Unlike the nproc limit, which counts a uid's processes in all containers of the host together.
    PidsLimit: limits.pids,
    Ulimits: [
      { Name: 'nofile', Soft: limits.nofile, Hard: limits.nofile },
      { Name: 'core', Soft: 0, Hard: 0 },
    ],
    ShmSize: limits.shm,
    Tmpfs: { '/tmp': `rw,exec,nosuid,nodev,size=${limits.tmp},mode=1777` },
  };
}

/** The networks by policy. `unprotected` is the engine's bridge as it is: the host's own ports, other containers on it and a cloud's metadata service are all reachable. */
const networks = { none: 'none', open: openNetwork.name, unprotected: 'bridge' } as const;

function isolation({ network, seccomp, runtime }: ContainerSpec) {
  return {
    NetworkMode: networks[network],
    SecurityOpt: ['no-new-privileges', ...(seccomp === undefined ? [] : [`seccomp=${seccomp}`])],
    ...(runtime !== undefined && { Runtime: runtime }),
  };
}

// Docker gives named volumes no nosuid or nodev; no-new-privileges and the device cgroup take their place.
function mounts(spec: ContainerSpec, { hostVolume, instance, imageVolumes = [] }: Placement) {
  const bare = { ...spec.volume.labels, [labels.instance]: instance, [labels.bare]: '' };
  const taken = new Set<string>([paths.workspace, paths.tools, '/tmp', ...spec.mounts.map(({ target }) => target)]);
  return [
    volumeMount(spec.volume.name, paths.workspace, { labels: bare }),
    volumeMount(hostVolume, paths.tools, { readOnly: true }),
    ...inMemory(
      imageVolumes.filter((path) => !taken.has(path)),
      spec.limits.tmp,
    ),
    ...spec.mounts.map(operatorMount),
  ];
}

/**
 * In place of the volume that the engine would make for an image's `VOLUME`: on the host's disk, without a limit. All
 * of them together are as big as `/tmp`.
 */
function inMemory(paths: readonly string[], tmp: number) {
  const options = { SizeBytes: Math.floor(tmp / paths.length), Mode: 0o1777 };
  return paths.map((Target) => ({ Type: 'tmpfs' as const, Target, TmpfsOptions: options }));
}

/** `NoCopy`, so that what an image has at the target never gets into the volume. */
function volumeMount(
  name: string,
  target: string,
  options: { readOnly?: boolean; labels?: Readonly<Record<string, string>> } = {},
) {
  return {
    Type: 'volume' as const,
    Source: name,
    Target: target,
    ReadOnly: options.readOnly ?? false,
    VolumeOptions: { NoCopy: true, Labels: { ...options.labels } },
  };
}

export function operatorMount({ source, target, readOnly }: Mount) {
  if (!source.startsWith('/')) return volumeMount(source, target, { readOnly });
  return {
    Type: 'bind' as const,
    Source: source,
    Target: target,
    ReadOnly: readOnly,
    BindOptions: { Propagation: 'rprivate' as const },
  };
}

function environment(own: Readonly<Record<string, string>>): string[] {
  const env = { HOME: paths.workspace, LANG: 'C.UTF-8', ...own };
  return Object.entries(env).map(([name, value]) => `${name}=${value}`);
}

/**
 * The body for a container that is never started: Docker fills an empty volume at creation with what the image has at
 * the target, owners included.
 */
export function fillerBody(volume: FilledVolume, image: string, instance: string) {
  return {
    Image: image,
    Cmd: [paths.host],
    Labels: { [labels.instance]: instance, [labels.filler]: volume.name },
    HostConfig: {
      NetworkMode: 'none',
      LogConfig: { Type: 'none', Config: {} },
      Mounts: [
        { Type: 'volume', Source: volume.name, Target: volume.target, VolumeOptions: { Labels: { ...volume.labels } } },
      ],
    },
  };
}

export interface FilledVolume {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The directory of the session host's image that fills it. */
  readonly target: string;
}
