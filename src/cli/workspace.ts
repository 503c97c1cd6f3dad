import { connectEngine } from '../compose/context.ts';
import type { Config } from '../config.ts';
import { AppError } from '../errors.ts';
import { createLogger } from '../log.ts';
import { unknownWorkspaces } from '../sandbox/lifecycle/reconcile.ts';
import type { Runtime } from '../sandbox/ports/runtime.ts';
import { State } from '../state/state.ts';
import { UsageError } from './args.mjs';
import { type Invocation, settings } from './invocation.ts';

/** `berth workspace list | adopt NAME --owner WHO | prune NAME …`: the workspaces that no sandbox has; also while the server runs. */
export async function workspace(invocation: Invocation): Promise<number> {
  const { env, rest } = invocation;
  const { config } = settings(invocation);
  const [action, ...names] = rest;
  using state = new State(config.server.state_dir, { shared: true });
  await using runtime = connectEngine({ config, env }, state, createLogger({ ...config.logging, level: 'error' }));
  const unknown = await unknownWorkspaces(runtime, state);
  for (const name of names) if (!unknown.includes(name)) throw notUnknown(name);
  if (action === 'list' && names.length === 0) return list(unknown, invocation);
  if (action === 'prune' && names.length > 0) return await prune(names, { runtime, state }, invocation);
  const [name] = names;
  if (action === 'adopt' && name !== undefined && names.length === 1) return adopt(name, { state, config }, invocation);
  throw new UsageError(
    'Say what to do: berth workspace list, berth workspace adopt NAME --owner WHO, or berth workspace prune NAME ….',
  );
}

function notUnknown(name: string): AppError {
  const got = JSON.stringify(name.slice(0, 160));
  return new AppError('not_found', `NAME: expected a workspace that berth workspace list shows, got ${got}.`);
}

function list(unknown: readonly string[], { flags, out, err }: Invocation): number {
  if (flags['json']) out.write(`${JSON.stringify(unknown, null, 2)}\n`);
  else for (const name of unknown) out.write(`${name}\n`);
  if (unknown.length === 0) err.write('Every workspace belongs to a sandbox.\n');
  return 0;
}

/** Removes them with the containers that hold them. */
async function prune(
  names: readonly string[],
  { runtime, state }: { runtime: Runtime; state: State },
  { out }: Invocation,
): Promise<number> {
  const containers = await runtime.list();
  for (const name of names) {
    for (const record of containers)
      if (record.workspace === name && !state.get(record.labels['berth.sandbox'] ?? ''))
        await runtime.container(record).remove();
    await runtime.removeVolume(name);
    out.write(`removed ${name}\n`);
  }
  return 0;
}

/** Makes it the owner's sandbox of the handle in its name, which `list_sandboxes` then shows to them. */
function adopt(name: string, { state, config }: { state: State; config: Config }, { flags, out }: Invocation) {
  const owner = flags['owner'];
  if (typeof owner !== 'string') throw new UsageError('berth workspace adopt needs an owner: --owner WHO.');
  const handle = /-(sb_[0-9a-f]{24})-[0-9a-f]{6}$/.exec(name)?.[1];
  if (handle === undefined || state.get(handle)) throw taken(name);
  const chosen = typeof flags['template'] === 'string' ? flags['template'] : config.session.template;
  if (!Object.hasOwn(config.templates, chosen)) throw unknownTemplate(chosen, Object.keys(config.templates));
  const now = Date.now();
  const times = { created: now, lastUsed: now, expires: null };
  const lost = ['The sandbox was restored by the operator; the files under /workspace are kept.'];
  const scope = { scopeKind: 'handle', scopeId: handle } as const;
  state.insert({ handle, principal: owner, ...scope, template: chosen, volume: name, state: 'idle', ...times, lost });
  out.write(`${handle}\n`);
  return 0;
}

function unknownTemplate(name: string, known: readonly string[]): AppError {
  const got = JSON.stringify(name.slice(0, 80));
  return new AppError('invalid_argument', `--template: expected one of ${known.join(', ')}, got ${got}.`);
}

function taken(name: string): AppError {
  return new AppError('conflict', `NAME: the sandbox that ${name} was made for has another workspace; copy the files.`);
}
