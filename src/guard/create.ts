import { z } from 'zod';
import { createBody, fillerBody, labels, paths } from '../runtimes/docker/spec.ts';
import { trialBody, trialVolume } from '../runtimes/docker/trial.ts';
import { egressPaths } from '../sandbox/network/egress.ts';
import type { ContainerLimits, Mount } from '../sandbox/ports/runtime.ts';
import { difference } from './difference.ts';
import { hostVolumeName, instanceLabel, isOwnVolume, ownLabels, workspaceName } from './names.ts';
import type { GuardPolicy, TemplatePolicy } from './policy.ts';
import { Refusal } from './refusal.ts';

/**
 * The body for `POST /containers/create` in place of the one that came: what may vary is read out of it and checked, the
 * whole is then made anew by the code that the server itself uses, and the two must be the same. So there is no key and
 * no value that Berth would not have sent. `volumes` are the image's own, by the engine's word. Throws a `Refusal` that
 * names the first difference.
 */
export function acceptedContainer(body: unknown, policy: GuardPolicy, volumes: readonly string[] = []): object {
  const filler = read(fillerLabel, body).Labels[labels.filler];
  if (filler === undefined) return sandbox(body, policy, volumes);
  const own = filler === 'trial' ? trial(body, policy) : fill(body, policy);
  return same(body, own);
}

const fillerLabel = z.object({ Labels: z.record(z.string(), z.string()) });

function read<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const at = issue?.path.map(String).join('.').slice(0, 100) || 'the body';
  throw new Refusal(`Only Berth's own containers may be created: ${at} is not as Berth sets it.`);
}

function same(body: unknown, own: object): object {
  const plain = JSON.parse(JSON.stringify(own)) as object;
  const at = difference(body, plain);
  if (at) throw new Refusal(`Only Berth's own containers may be created: ${at} is not as Berth sets it.`);
  return plain;
}

const count = z.int().positive();

/** What varies between sandboxes; the rest is compared. */
const sandboxBody = z.object({
  Image: z.string(),
  Labels: ownLabels.and(z.object({ [labels.instance]: instanceLabel })),
  Entrypoint: z.array(z.string()),
  Cmd: z.tuple([
    z.literal('serve'),
    z.literal('--cwd'),
    z.string().regex(/^\/workspace(\/(?!\.\.?(\/|$))[^/\0]+)*\/?$/),
    z.literal('--orphan-after'),
    z.string().regex(/^[1-9]\d{0,8}$/),
    z.literal('--'),
    z.string().regex(/^\/[\w./-]{1,200}$/),
  ]),
  HostConfig: z.object({
    Memory: count,
    NanoCpus: count,
    PidsLimit: count,
    ShmSize: count,
    Ulimits: z.array(z.object({ Soft: z.int() })).min(1),
    Tmpfs: z.object({ '/tmp': z.string() }),
    Mounts: z.array(z.unknown()).min(2).max(64),
  }),
});

const volumeMounts = z.object({
  HostConfig: z.object({
    Mounts: z
      .tuple([
        z.object({ Source: workspaceName, VolumeOptions: z.object({ Labels: ownLabels }) }),
        z.object({ Source: hostVolumeName }),
      ])
      .rest(z.unknown()),
  }),
});

type SandboxBody = z.infer<typeof sandboxBody>;

function sandbox(body: unknown, policy: GuardPolicy, volumes: readonly string[]): object {
  const asked = read(sandboxBody, body);
  const templates = policy.templates.filter(({ image }) => image === asked.Image);
  let refusal = new Refusal('Only images of templates may be run.');
  for (const template of templates) {
    try {
      return same(body, rebuilt(body, asked, template, { policy, volumes }));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      refusal = error;
    }
  }
  throw refusal;
}

interface Known {
  readonly policy: GuardPolicy;
  readonly volumes: readonly string[];
}

function rebuilt(body: unknown, asked: SandboxBody, template: TemplatePolicy, { policy, volumes }: Known): object {
  const [workspace, host] = read(volumeMounts, body).HostConfig.Mounts;
  const { [labels.instance]: instance, ...own } = asked.Labels;
  const spec = {
    ...template,
    name: '',
    labels: own,
    volume: { name: workspace.Source, labels: without(workspace.VolumeOptions.Labels, labels.bare, labels.instance) },
    shell: asked.Cmd[6],
    // Not the session host alone: the shell that waits in its place.
    ...(asked.Entrypoint.length > 1 && { sessionHost: false }),
    cwd: asked.Cmd[2],
    limits: limitsOf(asked, template),
    mounts: [...template.mounts, ...door(asked, template, policy)],
  };
  const orphanAfter = Number(asked.Cmd[4]);
  if (orphanAfter > policy.orphanAfter) throw new Refusal('A sandbox may not wait that long for a server.');
  return createBody(spec, { instance, hostVolume: host.Source, orphanAfter, imageVolumes: volumes });
}

function without(all: Readonly<Record<string, string>>, ...names: readonly string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(all).filter(([name]) => !names.includes(name)));
}

function limitsOf({ HostConfig: given }: SandboxBody, { limits: most }: TemplatePolicy): ContainerLimits {
  const asked: ContainerLimits = {
    memory: given.Memory,
    cpus: given.NanoCpus / 1e9,
    pids: given.PidsLimit,
    tmp: Number(/\bsize=([1-9]\d{0,15})(?:,|$)/.exec(given.Tmpfs['/tmp'])?.[1] ?? 0),
    shm: given.ShmSize,
    nofile: given.Ulimits[0]?.Soft ?? 0,
  };
  const over = (Object.keys(most) as (keyof ContainerLimits)[]).find(
    (name) => !(asked[name] > 0 && asked[name] <= most[name]),
  );
  if (over) throw new Refusal(`A sandbox may have at most its template's ${over}.`);
  return asked;
}

const doorSource = z.object({ Source: z.string(), Target: z.literal(egressPaths.directory) });

/** The mount of a proxy's socket, where the template has one: right below the directory of all, and nowhere else. */
function door({ HostConfig }: SandboxBody, template: TemplatePolicy, policy: GuardPolicy): readonly Mount[] {
  const found = doorSource.safeParse(HostConfig.Mounts.at(-1));
  if (!template.egress || !found.success) return [];
  return [doorMount(found.data.Source, policy)];
}

function doorMount(source: string, { egressDirectory }: GuardPolicy): Mount {
  const handle = source.startsWith(`${egressDirectory}/`) ? source.slice(egressDirectory.length + 1) : '';
  if (!/^[\w-]{1,64}$/.test(handle)) throw new Refusal("Only a sandbox's own way out may be mounted into it.");
  return { source, target: egressPaths.directory, readOnly: true };
}

const fillBody = z.object({
  Labels: z.object({ [labels.instance]: instanceLabel, [labels.filler]: z.string().refine(isOwnVolume) }),
  HostConfig: z.object({
    Mounts: z.tuple([
      z.object({ Target: z.enum([paths.workspace, paths.tools]), VolumeOptions: z.object({ Labels: ownLabels }) }),
    ]),
  }),
});

/** A container that is never started: `startable` sees to that. */
function fill(body: unknown, { hostImage }: GuardPolicy): object {
  const { Labels, HostConfig } = read(fillBody, body);
  const [mount] = HostConfig.Mounts;
  const volume = { name: Labels[labels.filler], target: mount.Target, labels: mount.VolumeOptions.Labels };
  const target = workspaceName.safeParse(volume.name).success ? paths.workspace : paths.tools;
  return fillerBody({ ...volume, target }, hostImage, Labels[labels.instance]);
}

const trialOf = z.object({
  Labels: z.object({ [labels.instance]: instanceLabel }),
  Entrypoint: z.tuple([z.string().startsWith(`${paths.tools}/`)]),
  Cmd: z.array(z.string()).max(16),
  HostConfig: z.object({ Mounts: z.array(z.object({ Source: z.string() })).max(1) }),
});

/** A program of the session host's image, with a new workspace or a proxy's socket or neither. */
function trial(body: unknown, policy: GuardPolicy): object {
  const { Labels, Entrypoint, Cmd, HostConfig } = read(trialOf, body);
  const [source] = HostConfig.Mounts.map(({ Source }) => Source);
  const volume = volumeTrial.safeParse(body).data?.HostConfig.Mounts[0];
  const mounts = source === undefined || volume ? [] : [trialDoor(source, policy)];
  const argv = [...Entrypoint, ...Cmd];
  const own = trialBody({ argv, mounts }, { instance: Labels[labels.instance], hostImage: policy.hostImage });
  if (!volume) return own;
  const mount = trialVolume(volume.Source, volume.VolumeOptions?.NoCopy ?? false);
  return { ...own, HostConfig: { ...own.HostConfig, Mounts: [mount] } };
}

function trialDoor(source: string, policy: GuardPolicy): Mount {
  if (!policy.templates.some(({ egress }) => egress)) throw new Refusal('No template has a way out to be tried.');
  return doorMount(source, policy);
}

const volumeTrial = z.object({
  HostConfig: z.object({
    Mounts: z.tuple([
      z.object({
        Type: z.literal('volume'),
        Source: workspaceName,
        VolumeOptions: z.object({ NoCopy: z.boolean() }).optional(),
      }),
    ]),
  }),
});
