import { z } from 'zod';
import { labels, openNetwork } from '../runtimes/docker/spec.ts';
import { difference } from './difference.ts';
import { instanceLabel, ownLabels, workspaceName } from './names.ts';
import type { GuardPolicy } from './policy.ts';
import { Refusal } from './refusal.ts';

function strict<T>(schema: z.ZodType<T>, body: unknown, what: string): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const unknown = issue?.code === 'unrecognized_keys' ? issue.keys : [];
  const at = [...(issue?.path ?? []), ...unknown]
    .map(String)
    .join('.')
    .replace(/[^\w./-]/g, '?')
    .slice(0, 100);
  throw new Refusal(`${what}: ${at || 'the body'} is not as Berth sets it.`);
}

const side = z.int().min(1).max(10_000);

const exec = z.strictObject({
  Cmd: z
    .array(z.string().max(512 * 1024))
    .min(1)
    .max(1024),
  AttachStdin: z.boolean(),
  AttachStdout: z.boolean(),
  AttachStderr: z.boolean(),
  Tty: z.boolean(),
  Env: z.array(z.string().max(128 * 1024)).max(1024),
  DetachKeys: z.string().max(200),
  ConsoleSize: z.tuple([side, side]).optional(),
  WorkingDir: z.string().startsWith('/').max(4096).optional(),
  User: z.enum(['', '1000:1000']).optional(),
  Privileged: z.literal(false).optional(),
});

/** Processes of the sandbox's own user, without privileges. */
export function acceptedExec(body: unknown): object {
  return strict(exec, body, "Only processes of a sandbox's own user may be started");
}

const execStart = z.strictObject({
  Tty: z.boolean(),
  Detach: z.literal(false).optional(),
  /** A word of the client library to itself. */
  hijack: z.literal(true).optional(),
});

export function acceptedExecStart(body: unknown): object {
  const { Tty } = strict(execStart, body, 'Only attached processes may be started');
  return { Detach: false, Tty };
}

const volume = z.strictObject({
  Name: workspaceName,
  Driver: z.literal('local'),
  DriverOpts: z.record(z.string(), z.string()),
  Labels: ownLabels.and(z.object({ [labels.instance]: instanceLabel })),
});

/** A workspace with the options of one of the ways to bound it that the settings name. */
export function acceptedVolume(body: unknown, policy: GuardPolicy): object {
  const what = "Only Berth's own volumes may be created";
  const asked = strict(volume, body, what);
  if (difference(asked.DriverOpts, optionsOf(asked.Name, asked.DriverOpts, policy)))
    throw new Refusal(`${what}: DriverOpts is not as Berth sets it.`);
  return asked;
}

const bytes = /^[1-9]\d{0,15}$/;
/** Any user but the system's own: where the engine maps users, the sandboxes' user has another number on the host. */
const owner = /^nosuid,nodev,mode=0755,uid=[1-9]\d{3,9},gid=[1-9]\d{3,9}(?=,|$)/;

/** The driver's options as Berth would have set them, by what the given ones seem to be. */
function optionsOf(name: string, given: Readonly<Record<string, string>>, policy: GuardPolicy): Record<string, string> {
  const may = (mode: GuardPolicy['quota']) => policy.quota === mode || (policy.quota === 'auto' && mode !== 'tmpfs');
  if (given['type'] === 'ext4' && may('loop'))
    return { type: 'ext4', device: `/dev/berth/${name}`, o: 'nosuid,nodev,noinit_itable,discard' };
  if (given['type'] === 'tmpfs' && may('tmpfs')) {
    const [own = ''] = owner.exec(given['o'] ?? '') ?? [];
    const size = /^,size=(.*)$/.exec(given['o']?.slice(own.length) ?? '')?.[1];
    return { type: 'tmpfs', device: 'tmpfs', o: size === undefined ? own : `${own},size=${bounded(size, policy)}` };
  }
  if (given['size'] !== undefined && may('project')) return { size: bounded(given['size'], policy) };
  return {};
}

function bounded(size: string, { disk }: GuardPolicy): string {
  if (!bytes.test(size) || Number(size) > Math.max(disk, probe)) throw new Refusal('A workspace may not be that big.');
  return size;
}

/** What the server tries a mechanism with. */
const probe = 16 * 1024 ** 2;

const network = {
  Name: openNetwork.name,
  Driver: 'bridge',
  CheckDuplicate: true,
  EnableIPv6: false,
  Options: {
    'com.docker.network.bridge.name': openNetwork.bridge,
    'com.docker.network.bridge.enable_icc': 'false',
  },
};

/** The one network of sandboxes that may reach out, where there is a template for them. */
export function acceptedNetwork(body: unknown, { templates }: GuardPolicy): object {
  if (!templates.some(({ network }) => network === 'open')) throw new Refusal('No template has an open network.');
  const at = difference(body, network);
  if (at) throw new Refusal(`Only Berth's own network may be created: ${at} is not as Berth sets it.`);
  return network;
}
