import { breaking } from './mutant.ts';

const inside = breaking('src/runtimes/docker/spec.ts', 'test/contract/hardening.test.ts');
const body = breaking('src/runtimes/docker/spec.ts', 'test/unit/docker-spec.test.ts');
const profile = breaking('config/seccomp.json', 'test/contract/seccomp.test.ts');
const loop = breaking('src/runtimes/docker/quota/loop.ts', 'test/contract/quota.docker.test.ts');

const memory = 'Memory: limits.memory,\n    MemorySwap: limits.memory,';
const unixSockets = `"comment": "Unix sockets.",
      "names": ["socket"],
      "action": "SCMP_ACT_ALLOW",
      "args": [
        {
          "index": 0,
          "value": 1,
          "op": "SCMP_CMP_EQ"`;

/** The walls of the container itself. */
export const container = [
  breaking('src/sandbox/lifecycle/opener.ts', 'test/unit/opener.test.ts')(
    'a sandbox wakes from another template',
    'if (!this.#options.config.templates[row.template]) throw templateGone(row.template);',
    '',
  ),
  inside('everybody is root', "User: '1000:1000'", "User: '0:0'"),
  inside('capabilities can be had', "CapDrop: ['ALL']", "CapDrop: ['NET_RAW']"),
  inside('the root can be written', 'ReadonlyRootfs: true', 'ReadonlyRootfs: false'),
  inside('it is privileged', 'Privileged: false', 'Privileged: true'),
  inside('setuid programs work', "SecurityOpt: ['no-new-privileges', ", 'SecurityOpt: ['),
  inside('shared memory is the host’s', "IpcMode: 'private'", "IpcMode: 'host'"),
  inside('cgroups of the host show', "CgroupnsMode: 'private'", "CgroupnsMode: 'host'"),
  inside('an init stands above the session host', 'Init: false', 'Init: true'),
  inside('what PID 1 writes is kept', "LogConfig: { Type: 'none', Config: {} },\n  RestartPolicy", 'RestartPolicy'),
  inside('no network is the bridge', "none: 'none'", "none: 'bridge'"),
  inside('more memory than allowed', memory, memory.replaceAll('limits.memory', 'limits.memory * 4')),
  inside('swap besides', 'MemorySwap: limits.memory,', 'MemorySwap: limits.memory * 2,'),
  inside('more processes than allowed', 'PidsLimit: limits.pids', 'PidsLimit: limits.pids * 4'),
  inside('more CPU than allowed', 'limits.cpus * 1e9', 'limits.cpus * 2e9'),
  inside('more open files than allowed', 'Hard: limits.nofile', 'Hard: limits.nofile * 4'),
  inside('core dumps', "{ Name: 'core', Soft: 0, Hard: 0 }", "{ Name: 'core', Soft: -1, Hard: -1 }"),
  inside('setuid files in /tmp', 'rw,exec,nosuid,nodev', 'rw,exec,suid,nodev'),
  inside('/tmp of any size', 'size=${limits.tmp},', ''),
  inside('shared memory of any size', 'ShmSize: limits.shm', 'ShmSize: limits.shm * 4'),
  inside('the session host can be replaced', 'paths.tools, { readOnly: true }', 'paths.tools, { readOnly: false }'),
  body('it outlives the server in need', 'OomScoreAdj: 500', 'OomScoreAdj: 0'),
  body('it is started again by the engine', "RestartPolicy: { Name: 'no' }", "RestartPolicy: { Name: 'always' }"),
  body('its memory has no end', 'OomKillDisable: false', 'OomKillDisable: true'),
  body('files of the image get into the workspace', 'NoCopy: true', 'NoCopy: false'),
  body('mounts made inside get out', "Propagation: 'rprivate'", "Propagation: 'rshared'"),
  body(
    'a label of the caller names another instance',
    '{ ...spec.labels, [labels.instance]: placement.instance }',
    '{ [labels.instance]: placement.instance, ...spec.labels }',
  ),
  body('a mount is writable', 'ReadOnly: readOnly,', 'ReadOnly: false,'),
  profile('io_uring', '"access",', '"access", "io_uring_setup",'),
  profile('keys of the kernel', '"access",', '"access", "keyctl",'),
  profile('new mounts', '"access",', '"access", "mount", "umount2", "fsopen",'),
  profile('bpf', '"access",', '"access", "bpf",'),
  profile('user namespaces', '"value": 2114060288', '"value": 1845624832'),
  profile('other families of sockets', unixSockets, unixSockets.replace('CMP_EQ', 'CMP_GE')),
  loop('a workspace is larger than allowed', 'this.#blank(size)', 'this.#blank(size * 4)'),
  loop('setuid files and devices in the workspace', 'nosuid,nodev,noinit_itable', 'noinit_itable'),
];
