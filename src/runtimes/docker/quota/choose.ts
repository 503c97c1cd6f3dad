import { join } from 'node:path';
import { AppError } from '../../../errors.ts';
import type { Logger } from '../../../log.ts';
import type { DiskQuota } from '../../../sandbox/ports/runtime.ts';
import type { Engine } from '../client.ts';
import { LoopImages } from './loop.ts';
import { ownerOn, type Owner } from './owner.ts';
import { probe } from './probe.ts';
import { noQuota, projectQuota, type Quota, tmpfsQuota, watchQuota } from './quota.ts';

/** `auto` takes the first that works of project, loop, watch. */
export type QuotaMode = 'auto' | DiskQuota['kind'];

export interface QuotaOptions {
  readonly mode: QuotaMode;
  /** Where images of workspaces are kept. */
  readonly directory: string;
  /** Bytes that stay free on the host: below it no sandbox is started. */
  readonly reserve: number;
}

export interface ChooseOptions {
  readonly instance: string;
  readonly hostImage: string;
  readonly quota: QuotaOptions;
  readonly log: Logger;
}

/** The way workspaces are bounded here, tried once for real. Rejects `unsupported` when the one asked for does not work. */
export async function chooseQuota(engine: Engine, options: ChooseOptions): Promise<Quota> {
  const { mode } = options.quota;
  const reasons: string[] = [];
  for (const quota of candidates(engine, options.quota, await ownerOn(engine))) {
    const failure = await failureOf(engine, quota, options);
    if (!failure) return quota;
    if (mode !== 'auto') throw unavailable(mode, failure);
    reasons.push(`${quota.kind}: ${rootOf(failure)}`);
    // Few file systems have project quotas; wherever loop devices are tried, they are expected to work.
    const level = quota.kind === 'loop' ? 'warn' : 'debug';
    options.log[level]({ event: 'workspace.quota_unavailable', kind: quota.kind, err: failure });
  }
  if (mode === 'none') return noQuota;
  return mode === 'auto' ? { ...watchQuota, reason: reasons.join('; ') } : watchQuota;
}

/** What was wrong at the bottom, on one line. */
function rootOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.cause instanceof Error) return rootOf(error.cause);
  return error.message.trim().replace(/\s+/g, ' ').slice(0, 300);
}

function candidates(engine: Engine, { mode, directory }: QuotaOptions, owner: Owner): readonly Quota[] {
  const loop = new LoopImages(join(directory, 'workspaces'), owner);
  const local = engine.address.socketPath !== undefined && process.getuid?.() === 0;
  if (mode === 'auto') return local ? [projectQuota, loop] : [projectQuota];
  return [projectQuota, loop, tmpfsQuota(owner)].filter(({ kind }) => kind === mode);
}

async function failureOf(engine: Engine, quota: Quota, options: ChooseOptions): Promise<unknown> {
  try {
    await probe(engine, quota, options);
    return undefined;
  } catch (error) {
    // An engine that is away says nothing about its volumes.
    if (error instanceof AppError && passing.has(error.code)) throw error;
    return error;
  }
}

const passing: ReadonlySet<string> = new Set(['engine_unavailable', 'image_missing', 'timeout', 'cancelled']);

function unavailable(mode: string, cause: unknown): AppError {
  return new AppError(
    'unsupported',
    `workspace.quota: "${mode}" does not work with this engine and host, so no sandbox is started; "auto" takes what does.`,
    { cause },
  );
}

const details: Readonly<Record<DiskQuota['kind'], string>> = {
  project: 'project quotas of the engine’s file system',
  loop: 'an ext4 image for each workspace',
  tmpfs: 'memory: it counts as the sandbox’s own, and files are gone with the container',
  watch: 'looked at from time to time: a sandbox above its size is stopped',
  none: 'nothing but the host’s disk',
};

/** What callers, `doctor` and the log are told of it. */
export function describeQuota({ kind, reason }: Quota): DiskQuota {
  return { kind, bounded: kind !== 'none', detail: details[kind], ...(reason && { reason }) };
}
